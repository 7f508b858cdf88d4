// The lines in which two texts differ. Pure.

/** A line of a comparison. */
export interface DiffLine {
  kind: "same" | "removed" | "added" | "gap";
  text: string;
  /** The line of the new text; of a removed line, none. */
  line?: number;
}

/** Lines that are the same around a difference. */
const CONTEXT = 2;
/** Longer parts are compared as a whole: the work grows with the square of their length. */
const LONGEST = 1_500;

/** How `before` becomes `after`, with some lines around each difference. An empty list: they are the same. */
export function diff(before: string, after: string): DiffLine[] {
  if (before === after) return [];
  const [old, now] = [lines(before), lines(after)];
  let start = 0;
  while (start < old.length && start < now.length && old[start] === now[start]) start += 1;
  let end = 0;
  while (end < old.length - start && end < now.length - start && old.at(-1 - end) === now.at(-1 - end)) end += 1;
  const all: DiffLine[] = [
    ...now.slice(0, start).map((text, index): DiffLine => ({ kind: "same", text, line: index + 1 })),
    ...middle(old.slice(start, old.length - end), now.slice(start, now.length - end), start),
    ...now.slice(now.length - end).map((text, index): DiffLine => ({ kind: "same", text, line: now.length - end + index + 1 })),
  ];
  return withGaps(all);
}

function lines(text: string): string[] {
  const all = text.split(/\r?\n/);
  if (all.at(-1) === "") all.pop();
  return all;
}

/** The longest common lines stay; everything else is removed or added. */
function middle(old: string[], now: string[], offset: number): DiffLine[] {
  const removed = (text: string): DiffLine => ({ kind: "removed", text });
  const added = (text: string, index: number): DiffLine => ({ kind: "added", text, line: offset + index + 1 });
  if (old.length > LONGEST || now.length > LONGEST) return [...old.map(removed), ...now.map(added)];
  const width = now.length + 1;
  // common[i * width + j]: the number of common lines of old[i..] and now[j..].
  const common = new Uint16Array((old.length + 1) * width);
  for (let i = old.length - 1; i >= 0; i -= 1) {
    for (let j = now.length - 1; j >= 0; j -= 1) {
      const skip = Math.max(common[(i + 1) * width + j]!, common[i * width + j + 1]!);
      common[i * width + j] = old[i] === now[j] ? common[(i + 1) * width + j + 1]! + 1 : skip;
    }
  }
  const found: DiffLine[] = [];
  let [i, j] = [0, 0];
  while (i < old.length || j < now.length) {
    if (i < old.length && j < now.length && old[i] === now[j]) {
      found.push({ kind: "same", text: now[j]!, line: offset + j + 1 });
      [i, j] = [i + 1, j + 1];
    } else if (j >= now.length || (i < old.length && common[(i + 1) * width + j]! >= common[i * width + j + 1]!)) {
      found.push(removed(old[i]!));
      i += 1;
    } else {
      found.push(added(now[j]!, j));
      j += 1;
    }
  }
  return found;
}

/** Leaves out lines that are far from every difference. */
function withGaps(all: DiffLine[]): DiffLine[] {
  const isNear = new Uint8Array(all.length);
  all.forEach(({ kind }, index) => {
    if (kind !== "same") isNear.fill(1, Math.max(0, index - CONTEXT), index + CONTEXT + 1);
  });
  return all.flatMap((line, index): DiffLine[] => {
    if (isNear[index]) return [line];
    return index > 0 && !isNear[index - 1] ? [] : [{ kind: "gap", text: "" }];
  });
}
