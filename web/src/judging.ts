// How a person judges, on every page: the buttons of a verdict, and the keys of a list.

import { type Judged, type Verdict, mark, undo, verdictOf } from "./marks";
import { toast } from "./parts/Toast";

/** A list with keys. */
export interface JudgedList {
  /** What is selected. */
  current: Judged | undefined;
  /** Whether this person may store verdicts. */
  mayMark: boolean;
  /** Nothing is selected: the first key selects the first one, so that nothing is judged unseen. */
  onFirst: () => void | false;
  /** The selected one was judged: selects the next one. */
  onNext: () => void;
  /** A verdict was taken back: selects what it was about. Returns whether that is in the list. */
  onUndone: (key: string) => boolean;
}

type Key = (event: Pick<KeyboardEvent, "repeat">) => void | false;

/**
 * The keys for `useKeys`: `y` says right, `n` wrong, and `u` takes the newest verdict back. A key never takes a verdict back that is the
 * same, and one that is held down counts once.
 */
export function judgingKeys({ current, mayMark, onFirst, onNext, onUndone }: JudgedList): Record<"y" | "n" | "u", Key> {
  const say = (verdict: Verdict): Key => ({ repeat }) => {
    if (repeat) return;
    if (!current) return onFirst();
    if (judge(current, verdict, mayMark)) onNext();
  };
  return {
    y: say("right"),
    n: say("wrong"),
    u: ({ repeat }) => {
      if (repeat) return;
      const key = undo();
      if (key === undefined) toast("There is nothing to undo.");
      else if (!onUndone(key)) toast("The verdict was taken back.");
    },
  };
}

/** The button of a verdict. One that is pressed already takes its verdict back. */
export function press(judged: Judged, verdict: Verdict, mayMark: boolean) {
  judge(judged, verdictOf(judged) === verdict ? null : verdict, mayMark);
}

/** Returns whether this person may judge. */
function judge(judged: Judged, verdict: Verdict | null, mayMark: boolean): boolean {
  if (mayMark) mark(judged, verdict);
  else toast("You may look and not mark: sign in with the right to change.");
  return mayMark;
}
