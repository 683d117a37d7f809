/** As much of a browser as the modules under test touch when they are loaded. */

const target = { addEventListener: () => undefined, removeEventListener: () => undefined, dispatchEvent: () => true };
const memory = new Map<string, string>();
const storage = {
  getItem: (key: string) => memory.get(key) ?? null,
  setItem: (key: string, value: string) => void memory.set(key, value),
  removeItem: (key: string) => void memory.delete(key),
};

Object.assign(globalThis, {
  ...target,
  document: { ...target, hidden: false },
  location: { pathname: "/", search: "" },
  matchMedia: () => ({ ...target, matches: false }),
  sessionStorage: storage,
  localStorage: storage,
});
