// The map of all entities.

import { make } from "./dom.js";

export async function mapView() {
  return [make("h1", {}, "Map"), make("p", {}, "This model was exported without a map.")];
}
