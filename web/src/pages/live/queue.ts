// Requests that wait for each other, so that a page with forty sources sends only a few at once: a service has a limited number of
// places for connections, and a proxy may send all requests of a page at the same time.

interface Task {
  isWanted: () => boolean;
  start: () => Promise<void>;
  leave: () => void;
}

export class Queue {
  #most: number;
  #running = 0;
  #waiting: Task[] = [];

  /** Runs this number of tasks at once. */
  constructor(most: number) {
    this.#most = most;
  }

  /**
   * Runs `task` after those before it. What is not wanted when its turn comes is left out, and the result is `undefined`: then what is in
   * view does not wait for what was scrolled away.
   */
  run<Result>(task: () => Promise<Result>, isWanted: () => boolean): Promise<Result | undefined> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ isWanted, start: () => task().then(resolve, reject), leave: () => resolve(undefined) });
      this.#next();
    });
  }

  #next() {
    while (this.#running < this.#most) {
      const task = this.#waiting.shift();
      if (!task) return;
      if (!task.isWanted()) {
        task.leave();
        continue;
      }
      this.#running += 1;
      void task.start().finally(() => {
        this.#running -= 1;
        this.#next();
      });
    }
  }
}

/** Whether the same request may succeed a little later, by the status of its answer; `undefined`: there was none. */
export function isPassing(status: number | undefined): boolean {
  return !status || status === 429 || status >= 500;
}
