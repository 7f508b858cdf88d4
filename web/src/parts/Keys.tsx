import { Fragment } from "preact";
import { useEffect, useRef } from "preact/hooks";

/** Says which keys do what: `<Keys keys={[["j k", "move"], ["y", "right"]]} />`. Hidden on devices without a keyboard. */
export function Keys({ keys }: { keys: readonly (readonly [string, string])[] }) {
  return (
    <p class="keys">
      {keys.map(([names, what], index) => (
        <Fragment key={what}>
          {index > 0 && <span aria-hidden="true"> · </span>}
          {names.split(" ").map((name) => <kbd key={name}>{name}</kbd>)} {what}
        </Fragment>
      ))}
    </p>
  );
}

/**
 * Calls a function for a key (`j`, `Enter`, `ArrowDown`, `?`), while no field has the focus and no dialog is open. Keys with Ctrl, Alt
 * or Meta stay the browser's. Enter and the space bar stay the focused button's or link's. A function that returns `false` did nothing.
 */
export function useKeys(keys: Record<string, (event: KeyboardEvent) => void | false>) {
  const latest = useRef(keys);
  latest.current = keys;
  useEffect(() => {
    const pressed = (event: KeyboardEvent) => {
      if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
      const action = latest.current[event.key];
      if (!action || isElsewhere(event)) return;
      if (action(event) !== false) event.preventDefault();
    };
    window.addEventListener("keydown", pressed);
    return () => window.removeEventListener("keydown", pressed);
  }, []);
}

/** Whether the key belongs to what has the focus. */
function isElsewhere(event: KeyboardEvent): boolean {
  const [target] = event.composedPath();
  if (!(target instanceof HTMLElement)) return false;
  if (document.querySelector("dialog[open]")) return true;
  if (target.isContentEditable || target.matches("input, textarea, select")) return true;
  return (event.key === "Enter" || event.key === " ") && target.matches("button, a, summary, [role=slider], [role=button]");
}
