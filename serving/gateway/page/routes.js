// Addresses of the views: #/VIEW?name=value. What a view shows stands in its address.

export const to = (view, fields = {}) => {
  const text = new URLSearchParams(Object.entries(fields).filter(([, value]) => value !== undefined && value !== "")).toString();
  return `#/${view}${text ? `?${text}` : ""}`;
};

export function here() {
  const [view, query] = location.hash.replace(/^#\/?/, "").split("?");
  return { view: view || "home", fields: Object.fromEntries(new URLSearchParams(query ?? "")) };
}

export const go = (view, fields) => { location.hash = to(view, fields).slice(1); };
