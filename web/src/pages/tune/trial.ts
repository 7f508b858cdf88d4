// Judges again while a level is dragged: one request at a time, and after it the newest settings.

import { useEffect, useRef, useState } from "preact/hooks";
import { type ApiError, call } from "../../api";
import { asApiError } from "../../request";
import type { TrialAnswer, TrialRequest } from "./types";

export interface Trial {
  answer?: TrialAnswer;
  /** What the answer is about. */
  request?: TrialRequest;
  /** How long the answer took. */
  milliseconds?: number;
  error?: ApiError;
  /** Whether another request is in flight. */
  isBusy: boolean;
}

/** The answer to `request`; while that request is in flight, the answer to the one before. Another `round` asks again. */
export function useTrial(request: TrialRequest | undefined, round: number): Trial {
  const [state, setState] = useState<Omit<Trial, "isBusy"> & { key?: string }>({});
  const key = JSON.stringify([request, round]);
  const wanted = useRef({ request, key });
  const isAsking = useRef(false);
  wanted.current = { request, key };
  useEffect(() => {
    if (isAsking.current || !request) return;
    isAsking.current = true;
    void untilAnswered().finally(() => (isAsking.current = false));

    async function untilAnswered() {
      for (;;) {
        const asked = wanted.current;
        if (!asked.request) return;
        const next = await ask(asked.request);
        // An answer that is late is shown too: while a level is dragged, the page follows.
        setState((before) => ({ ...(next.error ? { ...before, error: next.error } : next), key: asked.key }));
        if (asked.key === wanted.current.key) return;
      }
    }
  }, [key]);
  return { ...state, isBusy: request !== undefined && state.key !== key };
}

async function ask(request: TrialRequest): Promise<Omit<Trial, "isBusy">> {
  const began = performance.now();
  try {
    const answer = await call<TrialAnswer>("GET", "rejudge", { ...request });
    return { answer, request, milliseconds: performance.now() - began };
  } catch (error) {
    return { request, error: asApiError(error) };
  }
}
