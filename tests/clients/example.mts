import { Client, MuldeError, type PredictTailsResponse } from "../../clients/typescript/mulde.js";

const client = new Client(process.argv[2]);
const response: PredictTailsResponse = await client.predictTails({
  heads: ["Q0000001", "nothing"], relations: ["P0", "P0"], options: { k: 3, view: "NAME_VIEW_ID" },
});
const found = await client.searchEntities({ queries: ["thing 12"], page_size: 2, model: { name: "toy" } });
const relations: unknown[] = [];
for await (const line of client.lines("ListRelations", { page_size: 2 })) relations.push(line.id);
let field = "";
try {
  await client.predictTails({ heads: ["Q0000001"], relations: ["P0"], options: { k: 0 } });
} catch (error) {
  if (error instanceof MuldeError) field = error.problem.field ?? "";
}
console.log(JSON.stringify({
  ids: response.answers?.ids, failed: response.answers?.errors.map((one) => one.status?.reason),
  found: found.ids[0], relations, field,
}));
