import type { ComponentChildren } from "preact";
import { useEffect, useId, useRef } from "preact/hooks";
import { Button } from "./Button";

/** A question that must be answered first. Escape closes it. */
export function Dialog({ title, onClose, children, actions }: {
  title: string;
  onClose: () => void;
  children: ComponentChildren;
  /** The buttons; a button that closes is there already. */
  actions?: ComponentChildren;
}) {
  const id = useId();
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const opened = dialog.current;
    if (!opened?.open) opened?.showModal();
    return () => opened?.close();
  }, []);
  return (
    <dialog
      class="dialog"
      ref={dialog}
      aria-labelledby={id}
      onCancel={(event) => {
        event.preventDefault();
        onClose();
      }}
    >
      <h2 id={id}>{title}</h2>
      <div class="dialog-body">{children}</div>
      <footer class="dialog-foot">
        <Button onClick={onClose}>Close</Button>
        {actions}
      </footer>
    </dialog>
  );
}
