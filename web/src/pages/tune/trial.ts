// Judges again while a level is dragged: one request at a time, and after it the newest settings.

import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { type ApiError, get } from "../../api";
import { asApiError } from "../../request";
import type { Asked, TrialAnswer } from "./types";

/** An answer, or why there is none. */
interface Judged {
  answer?: TrialAnswer;
  /** What the answer is about. */
  asked?: Asked;
  /** How long the answer took. */
  milliseconds?: number;
  error?: ApiError;
}

export interface Trial extends Judged {
  /** Whether an answer is missing: to another request, or to the first one. */
  isBusy: boolean;
  /** Asks again after an error. */
  retry: () => void;
}

/** Whether scores are stored. Without any, the service refuses to judge. */
export interface Stored {
  /** `undefined`: not known yet. */
  answer?: boolean;
  error?: ApiError;
  isLoading: boolean;
}

/**
 * The answer to what is asked; while that request is in flight, the answer to the one before. Another `round` asks again. Nothing is
 * asked before it is known that scores are stored.
 */
export function useTrial(asked: Asked, round: number, stored: Stored): Trial {
  const [state, setState] = useState<Judged & { key?: string }>({});
  const [again, setAgain] = useState(0);
  const retry = useCallback(() => setAgain((before) => before + 1), []);
  const canAsk = stored.answer === true;
  const key = JSON.stringify([asked, round, again]);
  const wanted = useRef<{ asked: Asked; key: string } | undefined>(undefined);
  const isAsking = useRef(false);
  const page = useRef(new AbortController());
  wanted.current = canAsk ? { asked, key } : undefined;
  useEffect(() => {
    if (isAsking.current || !wanted.current) return;
    isAsking.current = true;
    void untilAnswered().finally(() => (isAsking.current = false));

    async function untilAnswered() {
      for (let next = wanted.current; next; ) {
        const { asked, key } = next;
        const judged = await ask(asked, page.current.signal);
        next = wanted.current;
        // The page is gone, or another time was chosen, which may have no scores.
        if (!next) return;
        // An answer that is late is shown too: while a level is dragged, the page follows.
        setState((before) => ({ ...(judged.error ? { ...before, error: judged.error } : judged), key }));
        if (next.key === key) return;
      }
    }
  }, [key, canAsk]);
  useEffect(
    () => () => {
      wanted.current = undefined;
      page.current.abort();
    },
    [],
  );
  if (stored.answer === false) return { isBusy: false, retry };
  const isBusy = canAsk ? state.key !== key : stored.isLoading || !stored.error;
  return { ...state, isBusy, retry };
}

async function ask(asked: Asked, signal: AbortSignal): Promise<Judged> {
  const { subject, tried, limit } = asked;
  const began = performance.now();
  try {
    const answer = await get("rejudge", { ...subject, ...tried, limit }, signal);
    return { answer, asked, milliseconds: performance.now() - began };
  } catch (error) {
    return { error: asApiError(error) };
  }
}
