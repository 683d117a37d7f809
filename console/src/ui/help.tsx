/** What the console is and which keys it knows. */

import { SECTIONS } from "../pages";
import { Dialog } from "./dialog";
import { useStore } from "../store";
import { KEYS, setSingleKeys, singleKeys } from "./shortcuts";

export function Help({ close }: { close: () => void }) {
  const on = useStore(singleKeys);
  return (
    <Dialog title="Help and shortcuts" close={close} wide>
      <div class="columns">
        <dl class="keys">
          {SECTIONS.flatMap((section) =>
            section.entries.map((entry) => (
              <div key={entry.path}>
                <dt>
                  <kbd>g</kbd> <kbd>{entry.letter}</kbd>
                </dt>
                <dd>{entry.title}</dd>
              </div>
            )),
          )}
        </dl>
        <dl class="keys">
          {KEYS.map(([key, what]) => (
            <div key={key}>
              <dt>
                {key.split(" ").map((one) => (
                  <kbd key={one}>{one}</kbd>
                ))}
              </dt>
              <dd>{what}</dd>
            </div>
          ))}
        </dl>
      </div>
      <label class="check">
        <input type="checkbox" checked={on} onChange={(event) => setSingleKeys(event.currentTarget.checked)} />
        <span>Single keys do this</span>
      </label>
      <p>
        Every region serves this console from its own state; each panel says how old its numbers are. <span class="unknown">unknown</span> means that
        nobody has told, which is not 0. Actions need the role operator; they show what they would do before they do it.
      </p>
    </Dialog>
  );
}
