import { join } from 'node:path';
import { describeError } from '../../pipelines/errors.ts';
import { DmesgProcess } from '../kernel/dmesg-process.ts';
import { KmsgDevice } from '../kernel/kmsg-device.ts';
import { LogFile } from '../kernel/log-file.ts';
import type { LogSink, LogStart, LogTap } from '../kernel/log-tap.ts';

/** Where the kernel log is looked for. */
export interface KernelLogSearch {
  /** Where the host's root file system is seen from here. */
  hostRoot: string;
  /** A file that holds the kernel's messages. */
  file?: string;
  /** Reads the log by syslog(2); `dmesg` with its arguments where not given. */
  dmesg?: readonly string[];
}

/** The best way that works, and why the better ones do not. */
export interface OpenedKernelLog {
  tap: LogTap;
  /** One text for each way that was tried before. */
  refused: readonly string[];
  /** Whether the tap may have more to read at once. */
  more: boolean;
}

/** No way works: only the counters tell of kills. */
export class NoKernelLogError extends Error {
  override readonly name = 'NoKernelLogError';
  /** One text for each way that was tried. */
  readonly refused: readonly string[];

  constructor(refused: readonly string[]) {
    super(`cannot read the kernel log, only counters: ${refused.join('; ')}; ${grantFor(refused)}`);
    this.refused = refused;
  }
}

/**
 * Opens the kernel log and reads the beginning of it: the device, else syslog(2) by dmesg, else the configured file.
 *
 * @throws {NoKernelLogError} where none of them works, with what each said and what to grant.
 */
export async function openKernelLog(search: KernelLogSearch, start: LogStart, sink: LogSink): Promise<OpenedKernelLog> {
  const refused: string[] = [];
  for (const open of waysOf(search, start)) {
    let tap: LogTap | undefined;
    try {
      tap = open();
      return { tap, refused, more: await tap.read(sink) };
    } catch (error) {
      tap?.close();
      refused.push(describeError(error));
    }
  }
  throw new NoKernelLogError(refused);
}

/**
 * Finds out which way works, and leaves nothing open.
 *
 * @throws {NoKernelLogError} where none does.
 */
export async function probeKernelLog(search: KernelLogSearch): Promise<{ from: string; refused: readonly string[] }> {
  const nobody: LogSink = { message: () => {}, gap: () => {}, malformed: () => {} };
  const { tap, refused } = await openKernelLog(search, { startUs: 0 }, nobody);
  tap.close();
  return { from: tap.from, refused };
}

/** What to give the process so that it can read the device. */
export function grantFor(refused: readonly string[]): string {
  const device = refused.filter((text) => text.includes('kmsg"')).join();
  if (device.includes('EACCES')) return 'run as root: /dev/kmsg is for nobody else, whatever the capabilities';
  if (device.includes('ENOENT') || device.includes('ENXIO'))
    return 'give the container the device and CAP_SYSLOG: --device /dev/kmsg:/dev/kmsg:r --cap-add SYSLOG';
  return 'run as root with CAP_SYSLOG, and in a container with the device itself (a mount of it is not enough): --device /dev/kmsg:/dev/kmsg:r --cap-add SYSLOG';
}

function waysOf({ hostRoot, file, dmesg }: KernelLogSearch, start: LogStart): (() => LogTap)[] {
  const devices = new Set([join(hostRoot, 'dev/kmsg'), '/dev/kmsg']);
  return [
    ...Array.from(devices, (path) => () => KmsgDevice.open(path, start)),
    () => new DmesgProcess(start, dmesg),
    ...(file === undefined ? [] : [() => new LogFile(file, start)]),
  ];
}
