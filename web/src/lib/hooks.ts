// Loading with abort, refresh and "keep what was there while the next answer comes".
import { useEffect, useRef, useState } from 'preact/hooks';

export interface Loaded<T> {
  data: T | undefined;
  error: Error | undefined;
  /** True until the first answer to the current key. */
  loading: boolean;
  reload: () => void;
}

interface State<T> {
  key: string;
  data: T | undefined;
  error: Error | undefined;
}

/**
 * Runs `load` when `key` changes and every `refreshMs` while the page is visible.
 * `key` has to name everything that `load` depends on; an empty key loads nothing.
 */
export function useLoad<T>(key: string, load: (signal: AbortSignal) => Promise<T>, refreshMs = 0): Loaded<T> {
  const [state, setState] = useState<State<T>>({ key: '', data: undefined, error: undefined });
  const [turn, setTurn] = useState(0);
  const latest = useRef(load);
  latest.current = load;

  useEffect(() => {
    if (!key) return undefined;
    const stop = new AbortController();
    let timer = 0;
    const run = async (): Promise<void> => {
      if (document.visibilityState === 'visible' || turn === 0) {
        try {
          const data = await latest.current(stop.signal);
          if (!stop.signal.aborted) setState({ key, data, error: undefined });
        } catch (error) {
          if (stop.signal.aborted) return;
          setState((was) => ({ key, data: was.key === key ? was.data : undefined, error: error as Error }));
        }
      }
      if (refreshMs > 0 && !stop.signal.aborted) timer = window.setTimeout(run, refreshMs);
    };
    void run();
    return () => {
      stop.abort();
      window.clearTimeout(timer);
    };
  }, [key, turn, refreshMs]);

  return {
    data: state.data,
    error: state.key === key ? state.error : undefined,
    loading: key !== '' && state.key !== key,
    reload: () => setTurn((n) => n + 1),
  };
}

/** The size of an element's content box, followed. */
export function useSize<E extends HTMLElement>(): [{ current: E | null }, { width: number; height: number }] {
  const ref = useRef<E>(null);
  const [size, setSize] = useState({ width: 0, height: 0 });
  useEffect(() => {
    const element = ref.current;
    if (!element) return undefined;
    const observer = new ResizeObserver(([entry]) => {
      if (!entry) return;
      const width = Math.floor(entry.contentRect.width);
      const height = Math.floor(entry.contentRect.height);
      setSize((was) => (was.width === width && was.height === height ? was : { width, height }));
    });
    observer.observe(element);
    return () => observer.disconnect();
  }, []);
  return [ref, size];
}

/** True from the moment an element comes near the viewport: panels below the fold ask nothing. */
export function useSeen<E extends HTMLElement>(): [{ current: E | null }, boolean] {
  const ref = useRef<E>(null);
  const [seen, setSeen] = useState(false);
  useEffect(() => {
    const element = ref.current;
    if (!element || seen) return undefined;
    const observer = new IntersectionObserver(
      (entries) => {
        if (entries.some((entry) => entry.isIntersecting)) setSeen(true);
      },
      { rootMargin: '200px' },
    );
    observer.observe(element);
    return () => observer.disconnect();
  }, [seen]);
  return [ref, seen];
}
