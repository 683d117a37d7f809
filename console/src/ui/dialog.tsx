/** A modal dialog: the browser keeps the focus inside and gives it back. */

import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";

export function Dialog(props: { title: string; close: () => void; wide?: boolean; children: ComponentChildren }) {
  const { title, close, wide, children } = props;
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const before = document.activeElement;
    dialog.current?.showModal();
    // The first thing to fill in or to press, and not the way out.
    dialog.current?.querySelector<HTMLElement>("form :is(input, select, button), .buttons button")?.focus();
    return () => {
      // What the dialog did may have taken its button away.
      const back = before instanceof HTMLElement && before.isConnected ? before : document.querySelector<HTMLElement>("h1");
      back?.focus();
    };
  }, []);
  return (
    <dialog
      ref={dialog}
      class={wide ? "wide" : ""}
      aria-labelledby="dialog-title"
      onCancel={(event) => {
        event.preventDefault();
        close();
      }}
      onClick={(event) => {
        if (event.target === dialog.current) close();
      }}
    >
      <div class="dialog">
        <div class="dialog-head">
          <h2 id="dialog-title">{title}</h2>
          <button type="button" class="small" onClick={close} aria-label="Close">
            ✕
          </button>
        </div>
        {children}
      </div>
    </dialog>
  );
}
