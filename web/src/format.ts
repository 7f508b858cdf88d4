// Numbers, times and texts of the service as the console writes them.

/** A score: two digits. A dash if there is none. */
export function score(value: number | null | undefined): string {
  return value === null || value === undefined ? "–" : value.toFixed(2);
}

/** A count: `604,800`. */
export function count(value: number): string {
  return value.toLocaleString("en");
}

/** `1 alert`, `2 alerts`. */
export function counted(value: number, one: string, many = `${one}s`): string {
  return `${count(value)} ${value === 1 ? one : many}`;
}

/** A size: `1.4 GB`. */
export function bytes(value: number): string {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${value < 10 && unit > 0 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}

/** A duration: `0.4 s`, `12 s`, `5 min`, `2 h`, `3 d`. */
export function duration(seconds: number): string {
  if (seconds < 10) return `${Number(seconds.toFixed(1))} s`;
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7_200) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172_800) return `${Math.round(seconds / 3_600)} h`;
  return `${Math.round(seconds / 86_400)} d`;
}

/** A time: relative until it is a minute old, then the local time, with the day if it is not today. */
export function time(at: Date, now: Date): string {
  const age = (now.getTime() - at.getTime()) / 1000;
  if (age >= 0 && age < 60) return age < 1 ? "now" : `${Math.round(age)} s ago`;
  if (at.toDateString() === now.toDateString()) return clock(at);
  return `${day(at, now)} ${clock(at)}`;
}

/** A time of day: `21:04`, or `21:04:30`. */
export function clock(at: Date, withSeconds = false): string {
  const parts = [at.getHours(), at.getMinutes(), ...(withSeconds ? [at.getSeconds()] : [])];
  return parts.map((part) => String(part).padStart(2, "0")).join(":");
}

/** A day: `Fri 20`, or `20 Mar` if it is more than three weeks away. */
export function day(at: Date, now: Date): string {
  const isNear = Math.abs(now.getTime() - at.getTime()) < 21 * 86_400_000;
  if (isNear) return `${at.toLocaleDateString("en", { weekday: "short" })} ${at.getDate()}`;
  const year = at.getFullYear() === now.getFullYear() ? undefined : ("numeric" as const);
  return at.toLocaleDateString("en-GB", { day: "numeric", month: "short", year });
}

/** A word of a text. A key, a path, a number, and the name of a program are none. */
const ORDINARY_WORD = /^\p{L}\p{Ll}*(?:['’-]\p{Ll}+)*[,;.!?]?(?=\s|$)/u;

/**
 * A text of the service that starts a line, as a sentence. A name at its beginning, such as `state_dir` or an address, keeps its letters.
 * The signs around code are left out.
 */
export function sentence(text: string): string {
  const plain = text.replaceAll("`", "");
  const first = ORDINARY_WORD.test(text) ? plain.charAt(0).toUpperCase() + plain.slice(1) : plain;
  return first === "" || /[.!?:]$/.test(first) ? first : `${first}.`;
}
