import type { ComponentChildren } from "preact";
import { useEffect, useId, useRef } from "preact/hooks";
import { Button } from "./Button";

/**
 * A panel at the right; on a phone it covers the lower part of the screen. The page behind it stays usable. Escape closes it, and the
 * focus returns to where it was.
 */
export function Sheet({ title, onClose, children, actions }: {
  title: string;
  onClose: () => void;
  children: ComponentChildren;
  /** At the bottom. */
  actions?: ComponentChildren;
}) {
  const id = useId();
  const panel = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const before = document.activeElement;
    panel.current?.focus({ preventScroll: true });
    return () => before instanceof HTMLElement && before.focus({ preventScroll: true });
  }, []);
  const closeOnEscape = (event: KeyboardEvent) => {
    if (event.key !== "Escape") return;
    event.stopPropagation();
    onClose();
  };
  return (
    <div class="sheet" role="dialog" aria-labelledby={id} ref={panel} tabIndex={-1} onKeyDown={closeOnEscape}>
      <header class="sheet-head">
        <h2 id={id}>{title}</h2>
        <Button kind="quiet" label="Close" onClick={onClose}>✕</Button>
      </header>
      <div class="sheet-body" tabIndex={0} role="group" aria-label={title}>{children}</div>
      {actions !== undefined && <footer class="sheet-foot">{actions}</footer>}
    </div>
  );
}
