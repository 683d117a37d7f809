/** Filters of a list, kept in the query of the page. */

import { useEffect, useRef, useState } from "preact/hooks";

/**
 * Typing shows at once and reaches the URL a little later: browsers allow only so many changes of it. It is there when the box is left,
 * so that whoever opens a row comes back to what they searched.
 */
const URL_LATER_MS = 250;

export function SearchBox(props: { label: string; value: string; change: (text: string) => void; url: (text: string) => void }) {
  const { label, value, change, url } = props;
  const [text, setText] = useState(value);
  const timer = useRef<ReturnType<typeof setTimeout> | undefined>(undefined);
  const forget = () => {
    clearTimeout(timer.current);
    timer.current = undefined;
  };
  useEffect(() => forget, []);
  const typed = (next: string) => {
    setText(next);
    change(next);
    forget();
    timer.current = setTimeout(() => {
      timer.current = undefined;
      url(next);
    }, URL_LATER_MS);
  };
  const left = () => {
    if (timer.current === undefined) return;
    forget();
    url(text);
  };
  return (
    <label class="inline search">
      <span>{label}</span>
      <input
        type="search"
        value={text}
        data-search
        placeholder="words; label=value"
        autocomplete="off"
        spellcheck={false}
        onInput={(event) => typed(event.currentTarget.value)}
        onBlur={left}
      />
    </label>
  );
}

export function Choice(props: { label: string; value: string; options: string[]; change: (value: string) => void; unset?: string }) {
  const { label, value, options, change, unset = "all" } = props;
  const all = value === "" || options.includes(value) ? options : [value, ...options];
  return (
    <label class="inline">
      <span>{label}</span>
      <select value={value} onChange={(event) => change(event.currentTarget.value)}>
        <option value="">{unset}</option>
        {all.map((option) => (
          <option key={option} value={option}>
            {option.replaceAll("_", " ")}
          </option>
        ))}
      </select>
    </label>
  );
}
