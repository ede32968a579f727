/** Recorded times of the answers and events of Docker. The age of the daemon itself ends in +00:00 and is left alone. */
const times =
  /"(?<iso>[2-9]\d{3}-\d\d-\d\dT[\d:]+(?:\.\d+)?Z)"|"timeNano":(?<nano>\d+)|"(?<key>time|Created)": ?(?<unix>\d+)/g;

/** A moment of the recording and when it was played. */
interface Moment {
  recordedMs: number;
  playedMs: number;
  label: string;
}

/**
 * Moves recorded times into the present so that they keep their order: what was played has the time at which it was,
 * what lies between two such moments lies between them.
 */
export class Timeline {
  readonly #moments: Moment[];

  /** `recordedMs` is the end of what was found, which is played `nowMs`. */
  constructor(recordedMs: number, nowMs: number) {
    this.#moments = [{ recordedMs, playedMs: nowMs, label: 'the beginning' }];
  }

  /** The next recorded moment is now. */
  pass(recordedMs: number, nowMs: number, label: string): void {
    const playedMs = Math.max(nowMs, this.#moments.at(-1)!.playedMs + 1);
    this.#moments.push({ recordedMs, playedMs, label });
  }

  /** What was played at this time, to the microsecond; undefined for any other time. */
  labelAt(playedMs: number): string | undefined {
    return this.#moments.find((moment) => Math.abs(moment.playedMs - playedMs) < 0.001)?.label;
  }

  /** Moves all times in an answer or event. */
  move(text: string): string {
    return text.replaceAll(times, (found, ...rest) => {
      const groups = rest.at(-1) as TimeGroups;
      const movedMs = this.#toPlayed(toMs(groups));
      if (groups.iso !== undefined) return `"${toIso(movedMs)}"`;
      if (groups.nano !== undefined) return `"timeNano":${toNanos(movedMs)}`;
      return found.replace(/\d+$/, String(Math.floor(movedMs / 1000)));
    });
  }

  #toPlayed(recordedMs: number): number {
    const next = this.#moments.findIndex((moment) => moment.recordedMs >= recordedMs);
    const before = this.#moments[next === -1 ? this.#moments.length - 1 : next - 1];
    const after = this.#moments[next];
    if (before === undefined || after === undefined) {
      const { recordedMs: fromMs, playedMs } = (before ?? after)!;
      return playedMs + recordedMs - fromMs;
    }
    const share = (recordedMs - before.recordedMs) / (after.recordedMs - before.recordedMs);
    return before.playedMs + share * (after.playedMs - before.playedMs);
  }
}

/** The exact times in an answer or event, in milliseconds. */
export function findTimes(text: string): number[] {
  return Array.from(text.matchAll(times), ({ groups }) => groups as TimeGroups)
    .filter(({ unix }) => unix === undefined)
    .map(toMs);
}

/** Which of the patterns matched. */
type TimeGroups = Partial<Record<'iso' | 'nano' | 'key' | 'unix', string>>;

function toMs({ iso, nano, unix }: TimeGroups): number {
  if (nano !== undefined) return Number(nano) / 1e6;
  if (unix !== undefined) return Number(unix) * 1000;
  const [seconds, fraction = ''] = iso!.slice(0, -1).split('.');
  return Date.parse(`${seconds}Z`) + Number(`0.${fraction}0`) * 1000;
}

function toIso(ms: number): string {
  const nanos = toNanos(ms);
  return `${new Date(Math.floor(ms)).toISOString().slice(0, 19)}.${nanos.slice(-9)}Z`;
}

/** In decimal: a number would lose digits. */
function toNanos(ms: number): string {
  const wholeMs = Math.floor(ms);
  return `${wholeMs}${String(Math.floor((ms - wholeMs) * 1e6)).padStart(6, '0')}`;
}
