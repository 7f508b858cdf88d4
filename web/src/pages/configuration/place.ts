// Where the cursor is in a YAML text: the keys around it, and whether a key or a value is typed there. It reads lines and their
// indentation, so it works while the text is no YAML. Pure.

/** The place of the cursor. */
export interface Place {
  /** The keys around it, from the top. */
  path: string[];
  /** Whether a key is typed, or the value of `key`. */
  kind: "key" | "value";
  key?: string;
  /** Where the word begins that is typed, as an offset in the text. */
  from: number;
  /** Other keys of the same mapping. */
  siblings: string[];
}

const KEY = /^(\s*(?:- +)*)("(?:[^"\\]|\\.)*"|'[^']*'|[^\s#{}[\],"'][^#{}[\]]*?):(?=\s|$)/;

/** The place of the offset `at` in `text`; `undefined` in a comment. */
export function placeAt(text: string, at: number): Place | undefined {
  const start = text.lastIndexOf("\n", at - 1) + 1;
  const before = text.slice(start, at);
  if (isComment(before)) return undefined;
  const inside = flow(before);
  const above = parents(text, start, indentation(text, start, at));
  const own = KEY.exec(before);
  if (inside) {
    const { keys, kind, key, from, siblings } = inside;
    return { path: [...above, ...keys], kind, key, from: start + from, siblings };
  }
  if (own && before.length > own[0].length) {
    const rest = before.slice(own[0].length);
    const from = start + own[0].length + (rest.length - rest.trimStart().length);
    return { path: above, kind: "value", key: name(own[2]!), from, siblings: siblings(text, start) };
  }
  const dashes = /^\s*(?:- +)*/.exec(before)![0];
  // An item of a list of texts is a value of the list's key.
  const isItem = /^\s*- /.test(before);
  if (isItem && above.length > 0) {
    return { path: above.slice(0, -1), kind: "value", key: above.at(-1)!, from: start + dashes.length, siblings: [] };
  }
  return { path: above, kind: "key", from: start + dashes.length, siblings: siblings(text, start) };
}

/** The key at the offset `at`, with the keys around it and its own place; `undefined` where no key is. */
export function keyAt(text: string, at: number): { path: string[]; from: number; to: number } | undefined {
  const start = text.lastIndexOf("\n", at - 1) + 1;
  const end = text.indexOf("\n", at) < 0 ? text.length : text.indexOf("\n", at);
  const line = text.slice(start, end);
  for (const found of line.matchAll(/("(?:[^"\\]|\\.)*"|'[^']*'|[\w$.-](?:[\w$. -]*[\w$.-])?):(?=\s|$)/g)) {
    const from = start + found.index;
    const to = from + found[1]!.length;
    if (at < from || at > to || isComment(text.slice(start, from))) continue;
    const place = placeAt(text, from);
    return place && { path: [...place.path, name(found[1]!)], from, to };
  }
  return undefined;
}

/** The names of the mapping at the top-level key `key`: `label_sets` or `sources`. */
export function namesBelow(text: string, key: string): string[] {
  const lines = text.split("\n");
  const first = lines.findIndex((line) => line.startsWith(`${key}:`));
  if (first < 0) return [];
  const found: string[] = [];
  let depth: number | undefined;
  for (const line of lines.slice(first + 1)) {
    const match = KEY.exec(line);
    if (line.trim() === "" || line.trimStart().startsWith("#")) continue;
    const indent = line.length - line.trimStart().length;
    if (indent === 0) break;
    depth ??= indent;
    if (indent === depth && match) found.push(name(match[2]!));
  }
  return found;
}

/** The keys above the line that starts at `start`, whose own indentation is `indent`. */
function parents(text: string, start: number, indent: number): string[] {
  const path: string[] = [];
  let need = indent;
  for (let end = start - 1; end >= 0 && need > 0; ) {
    const begin = text.lastIndexOf("\n", end - 1) + 1;
    const line = text.slice(begin, end);
    end = begin - 1;
    const own = KEY.exec(line);
    if (!own || line.trimStart().startsWith("#")) continue;
    const depth = own[1]!.length;
    // Items of a list may have the indentation of its key.
    if (depth >= need) continue;
    path.unshift(name(own[2]!));
    need = own[1]!.includes("-") ? own[1]!.indexOf("-") : depth;
  }
  return path;
}

/** The indentation of the line at `start`; of a line with nothing but blanks, the column of the cursor. */
function indentation(text: string, start: number, at: number): number {
  const line = text.slice(start).split("\n", 1)[0]!;
  const dashes = /^\s*(?:- +)*/.exec(line)![0];
  if (line.trim() === "") return at - start;
  // The items of a list count as deeper than its key, also with the same indentation.
  return dashes.includes("-") ? dashes.indexOf("-") + 1 : dashes.length;
}

/** The other keys of the mapping that the line at `start` belongs to. */
function siblings(text: string, start: number): string[] {
  const lines = text.split("\n");
  const own = text.slice(0, start).split("\n").length - 1;
  const depth = (line: string) => /^\s*(?:- +)*/.exec(line)![0].length;
  const isBlank = (line: string) => line.trim() === "" || line.trimStart().startsWith("#");
  const column = isBlank(lines[own]!) ? lines[own]!.length : depth(lines[own]!);
  const found: string[] = [];
  for (const step of [-1, 1]) {
    for (let row = own + step; row >= 0 && row < lines.length; row += step) {
      const line = lines[row]!;
      if (isBlank(line)) continue;
      if (depth(line) < column) break;
      const key = KEY.exec(line);
      if (key && depth(line) === column) found.push(name(key[2]!));
      if (/^\s*- /.test(line) && step < 0) break;
    }
  }
  return found;
}

interface Flow {
  /** The keys of the brackets that are open, from the outermost. */
  keys: string[];
  kind: "key" | "value";
  key?: string;
  from: number;
  siblings: string[];
}

/** The place at the end of a line in which a bracket is open; `undefined` if none is. */
function flow(line: string): Flow | undefined {
  const stack: { isList: boolean; key: string; siblings: string[] }[] = [];
  let [word, from, key, quote] = ["", 0, "", ""];
  const begin = (index: number) => ([word, key, from] = ["", "", index + 1]);
  for (let index = 0; index < line.length; index += 1) {
    const letter = line[index]!;
    if (quote) {
      if (letter === quote) quote = "";
      word += letter;
    } else if ((letter === '"' || letter === "'") && word.trim() === "") {
      [quote, from, word] = [letter, index, letter];
    } else if (letter === "{" || letter === "[") {
      stack.push({ isList: letter === "[", key, siblings: [] });
      begin(index);
    } else if (letter === "}" || letter === "]") {
      stack.pop();
      begin(index);
    } else if (letter === ",") {
      begin(index);
    } else if (letter === ":" && /^\s?$/.test(line[index + 1] ?? "")) {
      key = name(word.replace(/^\s*(?:- +)*/, ""));
      stack.at(-1)?.siblings.push(key);
      [word, from] = ["", index + 1];
    } else {
      if (word.trim() === "" && letter.trim() !== "") from = index;
      word += letter;
    }
  }
  const top = stack.at(-1);
  if (!top) return undefined;
  if (word.trim() === "") from = line.length;
  const keys = stack.map((one) => one.key).filter((one) => one !== "");
  // What is typed in a list is a value of the list's key.
  if (top.isList) return { keys: keys.slice(0, -1), kind: "value", key: top.key, from, siblings: [] };
  return { keys, kind: key ? "value" : "key", key: key || undefined, from, siblings: top.siblings };
}

function isComment(before: string): boolean {
  return /(^|\s)#/.test(before.replace(/"(?:[^"\\]|\\.)*"|'[^']*'/g, ""));
}

function name(typed: string): string {
  const text = typed.trim();
  return /^(["']).*\1$/.test(text) ? text.slice(1, -1) : text;
}
