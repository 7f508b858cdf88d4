// A request as the state of a component.

import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { ApiError } from "./api";

/** What a component knows of its request. The last answer stays until the next one arrives, and if the next one fails. */
export interface Loaded<Answer> {
  answer?: Answer;
  error?: ApiError;
  isLoading: boolean;
  /** Asks again. */
  reload: () => void;
}

/** Asks when the component appears and whenever `inputs` change. An older request that is still open is given up. */
export function useRequest<Answer>(ask: (signal: AbortSignal) => Promise<Answer>, inputs: readonly unknown[]): Loaded<Answer> {
  const [state, setState] = useState<Omit<Loaded<Answer>, "reload">>({ isLoading: true });
  const [round, setRound] = useState(0);
  const latest = useRef(ask);
  latest.current = ask;
  useEffect(() => {
    const control = new AbortController();
    setState((before) => ({ ...before, isLoading: true }));
    latest.current(control.signal).then(
      (answer) => !control.signal.aborted && setState({ answer, isLoading: false }),
      (error: unknown) => {
        if (control.signal.aborted) return;
        setState((before) => ({ answer: before.answer, error: asApiError(error), isLoading: false }));
      },
    );
    return () => control.abort();
    // The inputs are the caller's.
  }, [...inputs, round]);
  const reload = useCallback(() => setRound((before) => before + 1), []);
  return { ...state, reload };
}

/** Any thrown thing as an error that can be shown. */
export function asApiError(error: unknown): ApiError {
  if (error instanceof ApiError) return error;
  return new ApiError(0, error instanceof Error ? error.message : String(error));
}
