import { useEffect, useState } from "preact/hooks";

interface Message {
  text: string;
  action?: { text: string; run: () => void };
}

const SHOWN_MS = 6_000;
let show: ((message: Message) => void) | undefined;

/** Says for some seconds what was done, with one action such as Undo. */
export function toast(text: string, action?: Message["action"]) {
  show?.(action ? { text, action } : { text });
}

/** Where toasts appear. The shell has one. */
export function Toasts() {
  const [message, setMessage] = useState<Message>();
  useEffect(() => {
    show = setMessage;
    return () => void (show = undefined);
  }, []);
  useEffect(() => {
    if (!message) return;
    const timer = setTimeout(() => setMessage(undefined), SHOWN_MS);
    return () => clearTimeout(timer);
  }, [message]);
  return (
    <div class="toasts" role="status" aria-live="polite">
      {message && (
        <p class="toast">
          <span>{message.text}</span>
          {message.action && (
            <button
              type="button"
              onClick={() => {
                message.action?.run();
                setMessage(undefined);
              }}
            >
              {message.action.text}
            </button>
          )}
        </p>
      )}
    </div>
  );
}
