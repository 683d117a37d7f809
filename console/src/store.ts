/** A value that parts of the page share, and the hook that follows it. */

import { useEffect, useState } from "preact/hooks";

export class Store<T> {
  private readonly followers = new Set<() => void>();

  constructor(private value: T) {}

  get(): T {
    return this.value;
  }

  set(value: T): void {
    if (Object.is(value, this.value)) return;
    this.value = value;
    for (const follower of [...this.followers]) follower();
  }

  follow(follower: () => void): () => void {
    this.followers.add(follower);
    return () => this.followers.delete(follower);
  }
}

/** The store's value; the component renders again when it changes. */
export function useStore<T>(store: Store<T>): T {
  const [, render] = useState(0);
  useEffect(() => {
    let seen = store.get();
    const look = () => {
      if (!Object.is(seen, store.get())) {
        seen = store.get();
        render((n) => n + 1);
      }
    };
    // It may have changed between the rendering and this effect.
    render((n) => n + 1);
    return store.follow(look);
  }, [store]);
  return store.get();
}

/** The time of this browser, told once a second while somebody looks. */
const clock = new Store(Date.now());
setInterval(() => {
  if (!document.hidden) clock.set(Date.now());
}, 1000);
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) clock.set(Date.now());
});

/** Milliseconds since 1970, renewed once a second. */
export function useNow(): number {
  return useStore(clock);
}
