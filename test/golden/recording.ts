import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/**
 * What was recorded of one moment: an event of the runtime, what had changed of the host's files when it arrived, and
 * what the runtime answered from then on.
 */
export interface Step {
  /** Line of the answer to GET /events. Absent for the first step, which is the host as it was found. */
  event?: string;
  /** Content by path below the host's root. */
  files: Map<string, string>;
  /** Paths of files and cgroups that are gone. */
  gone: string[];
  /** Bodies of the API's answers by path. */
  answers: Map<string, string>;
}

/** A step with nothing in it. */
export function emptyStep(): Step {
  return { files: new Map(), gone: [], answers: new Map() };
}

/**
 * Writes a step as one text that people can read and compare:
 *
 *     == event
 *     {"status":"oom","id":"4e86…",…}
 *     == GET /containers/4e86…/json
 *     {"Id":"4e86…",…}
 *     == sys/fs/cgroup/memory/docker/4e86…/memory.oom_control
 *     oom_kill_disable 0
 *     under_oom 0
 *     oom_kill 1
 *     == proc/4711/status is gone
 */
export function formatStep({ event, files, gone, answers }: Step): string {
  return [
    ...(event === undefined ? [] : [`== event\n${event}\n`]),
    ...Array.from(answers, ([path, body]) => `== GET ${path}\n${body}\n`),
    ...Array.from(files, ([path, content]) => `== ${path}\n${content}`),
    ...gone.map((path) => `== ${path} is gone\n`),
  ].join('');
}

/** Reads what `formatStep` wrote. */
export function parseStep(text: string): Step {
  const step = emptyStep();
  for (const section of text.split(/^== /m).slice(1)) {
    const titleEnd = section.indexOf('\n');
    const title = section.slice(0, titleEnd);
    const content = section.slice(titleEnd + 1);
    if (title === 'event') step.event = content.trimEnd();
    else if (title.startsWith('GET ')) step.answers.set(title.slice('GET '.length), content.trimEnd());
    else if (title.endsWith(' is gone')) step.gone.push(title.slice(0, -' is gone'.length));
    else step.files.set(title, content);
  }
  return step;
}

/** The recorded hosts, by name. */
export function recordedHosts(): string[] {
  const entries = readdirSync(import.meta.dirname, { withFileTypes: true });
  return entries.flatMap((entry) => (entry.isDirectory() ? entry.name : [])).toSorted();
}

/** The steps of a recorded host, in their order. */
export function readRecording(host: string): Step[] {
  const folder = join(import.meta.dirname, host);
  const names = readdirSync(folder).filter((name) => /^\d+-.*\.txt$/.test(name));
  return names.toSorted().map((name) => parseStep(readFileSync(join(folder, name), 'utf8')));
}
