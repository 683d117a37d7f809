/** Numbers, sizes and times as people read them. What is not known is the caller's to show. */

const WHOLE = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });

export function count(value: number): string {
  return WHOLE.format(value);
}

/** Three significant digits, without an exponent. */
export function figure(value: number): string {
  if (!Number.isFinite(value)) return value > 0 ? "∞" : value < 0 ? "−∞" : "not a number";
  const size = Math.abs(value);
  if (size >= 1000 || size === 0) return WHOLE.format(value);
  if (size < 0.001) return value.toExponential(1);
  return String(Number(value.toPrecision(3)));
}

export function percent(value: number): string {
  return `${value >= 99 && value < 100 ? (Math.floor(value * 100) / 100).toString() : figure(value)} %`;
}

/** A length of time: `340 ms`, `2.4 s`, `3 min 5 s`, `2 h 10 min`, `4 d 3 h`. */
export function duration(ms: number): string {
  if (ms < 0) return `−${duration(-ms)}`;
  if (ms < 1) return ms === 0 ? "0 ms" : `${figure(ms)} ms`;
  if (ms < 1000) return `${ms < 10 ? figure(ms) : Math.round(ms)} ms`;
  const s = ms / 1000;
  // Cut, not rounded: 59.99 s are no minute yet.
  if (s < 60) return `${Math.floor(s * 10) / 10} s`;
  const parts = (big: number, bigUnit: string, small: number, smallUnit: string) =>
    small === 0 ? `${big} ${bigUnit}` : `${big} ${bigUnit} ${small} ${smallUnit}`;
  const whole = Math.floor(s);
  if (whole < 3600) return parts(Math.floor(whole / 60), "min", whole % 60, "s");
  const minutes = Math.floor(whole / 60);
  if (minutes < 24 * 60) return parts(Math.floor(minutes / 60), "h", minutes % 60, "min");
  const hours = Math.floor(minutes / 60);
  return parts(Math.floor(hours / 24), "d", hours % 24, "h");
}

/** An age, in one unit: `0.4 s`, `12 s`, `3 min`, `2 h`, `5 d`. */
export function age(ms: number): string {
  const s = Math.max(0, ms) / 1000;
  if (s < 1) return `${s.toFixed(1)} s`;
  if (s < 90) return `${Math.round(s)} s`;
  if (s < 90 * 60) return `${Math.round(s / 60)} min`;
  if (s < 36 * 3600) return `${Math.round(s / 3600)} h`;
  return `${Math.round(s / 86400)} d`;
}

/** When something was or will be, seen from `now`. */
export function ago(at: number, now: number): string {
  return at <= now ? `${age(now - at)} ago` : `in ${age(at - now)}`;
}

const two = (n: number) => String(n).padStart(2, "0");

/** `2026-11-29 10:32:04 UTC`. */
export function utc(at: number): string {
  const d = new Date(at);
  if (Number.isNaN(d.getTime())) return "no time";
  const day = `${d.getUTCFullYear()}-${two(d.getUTCMonth() + 1)}-${two(d.getUTCDate())}`;
  return `${day} ${two(d.getUTCHours())}:${two(d.getUTCMinutes())}:${two(d.getUTCSeconds())} UTC`;
}

/** `10:32:04`, UTC. */
export function clock(at: number): string {
  return utc(at).slice(11, 19);
}

const STEPS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

export function bytes(value: number): string {
  let step = 0;
  let size = value;
  while (size >= 1024 && step < STEPS.length - 1) {
    size /= 1024;
    step += 1;
  }
  return `${step === 0 ? size : figure(size)} ${STEPS[step]}`;
}

export function mib(value: number): string {
  return bytes(value * 1024 * 1024);
}

const USD = new Intl.NumberFormat("en-US", { style: "currency", currency: "USD" });

/** `$1,842.50`. */
export function usd(value: number): string {
  return USD.format(value);
}

/** `vm_create` as `vm create`. */
export function words(name: string): string {
  return name.replaceAll("_", " ");
}

/** `1 VM`, `2 VMs`. */
export function many(n: number, one: string, more = `${one}s`): string {
  return `${count(n)} ${n === 1 ? one : more}`;
}
