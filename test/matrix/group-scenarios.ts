import { writeFileSync } from 'node:fs';
import { eventually } from '../helpers/eventually.ts';
import { untilReady } from '../helpers/docker-host.ts';
import { mib, type ContainerGroup, type Hog } from './kubernetes-node.ts';
import type { Context, Kill, Loss, Scenario, Truth } from './scenario.ts';

const noDocker = { enabled: false };
const missingDocker = { endpoint: 'unix:///run/exit137-matrix-missing.sock' };

/** Without CAP_SYSLOG neither the device nor the system call gives the log, whatever the user. */
// Older kernels take CAP_SYS_ADMIN for CAP_SYSLOG.
const withoutSyslog = ['setpriv', '--bounding-set=-syslog,-sys_admin', '--inh-caps=-syslog,-sys_admin'];

const noLog: RegExp = /source does not work.*"source":"kernel_log"|"source":"kernel_log".*source does not work/;
const noDockerTold: RegExp = /source does not work.*"source":"docker"|"source":"docker".*source does not work/;

const withoutNames: Loss = { what: 'who died; on v1 whose limit it was', told: [noLog], victim: true, scope: true };

/** The kernel reports no more than ten kills in five seconds in full. */
const heldBack: Loss = { what: 'whose limit it was, in reports that the kernel held back', told: [] };

const withoutRuntime: Loss = { what: 'whether it was the main process', told: [], role: true };

/** Scenarios in which no runtime has a part: the groups are made by hand, where Kubernetes would make them. */
export const groupScenarios: Scenario[] = [
  { name: 'main process, no runtime', run: killMain },
  { name: 'child, no runtime', run: killChild },
  { name: 'oom.group with 4 processes', needs: ['cgroup v2'], run: (context) => killGroup(context, 3) },
  { name: 'oom.group with one process', needs: ['cgroup v2'], run: (context) => killGroup(context, 0) },
  { name: 'pod limit, two containers', run: killAtPodLimit },
  { name: 'kubepods limit', run: killAtKubepodsLimit },
  { name: 'nested group', run: killInNestedGroup },
  { name: 'two containers at the same instant', run: killTwoAtOnce },
  {
    name: 'group removed 1 ms after the kill',
    lost: withoutRuntime,
    run: killAndRemove,
  },
  {
    // The counter of its pod keeps the kill.
    name: 'group removed 1 ms after the kill, kernel log unreadable',
    needs: ['cgroup v2'],
    observer: { receiver: { sources: { docker: noDocker } }, through: withoutSyslog, works: ['memcg'] },
    lost: { ...withoutNames, what: 'who died, whether it was the main process, and whose limit it was', role: true },
    run: killAndRemove,
  },
  { name: 'hostile process names', run: killHostileNames },
  { name: 'oom_kill_disable', needs: ['cgroup v1', 'stuck'], run: disableKills },
  { name: 'unkillable task', needs: ['a machine of its own', 'stuck'], run: beUnkillable },
  { name: 'node OOM, one in a container and one outside', needs: ['a machine of its own'], run: killForNode },
  { name: '40 kills in 2 s', lost: heldBack, run: killInBurst },
  {
    name: '200 kills over 20 containers',
    lost: { ...heldBack, what: `${heldBack.what}; which of several that died at once was whose`, victim: true },
    run: killInMany,
  },
  {
    name: 'kernel log unreadable',
    observer: { receiver: { sources: { docker: noDocker } }, through: withoutSyslog, works: ['memcg'] },
    lost: withoutNames,
    run: killBoth,
  },
  {
    name: 'runtime socket missing',
    observer: { receiver: { sources: { docker: missingDocker } } },
    lost: { what: 'names, and how main processes ended', told: [noDockerTold] },
    run: killBoth,
  },
  {
    name: 'both missing',
    observer: { receiver: { sources: { docker: missingDocker } }, through: withoutSyslog, works: ['memcg'] },
    lost: { ...withoutNames, told: [noLog, noDockerTold] },
    run: killBoth,
  },
  { name: 'agent down during a child kill', needs: ['state'], observer: { storage: true }, run: killChildWhileDown },
  {
    name: 'agent down while the container died and went, no runtime',
    lost: withoutRuntime,
    needs: ['state'],
    observer: { storage: true },
    run: goWhileDown,
  },
  {
    name: 'agent killed with -9 right after a kill',
    needs: ['state'],
    observer: { storage: true },
    run: crashAfterKill,
  },
];

async function killMain({ node, observer }: Context): Promise<Truth> {
  const container = node.container();
  const main = await container.main('signal', '64');
  await observer.knows(container.id);
  main.signal('SIGUSR2');
  await main.ended();
  return { kills: [killOf(container, 'init', 'container', main.pid)] };
}

async function killChild({ node, observer }: Context): Promise<Truth> {
  const container = node.container();
  const main = await container.main('signal', '64');
  await observer.knows(container.id);
  main.signal('SIGUSR1');
  await container.untilCounted(1);
  return { kills: [killOf(container, 'child')] };
}

/** A child in one container, and the main process of another. */
async function killBoth(context: Context): Promise<Truth> {
  const child = await killChild(context);
  const main = await killMain(context);
  return { kills: [...child.kills, ...main.kills] };
}

async function killGroup({ node, observer }: Context, others: number): Promise<Truth> {
  const container = node.container({ oomGroup: true });
  const main = await container.main('signal', '64');
  const more = await Promise.all(Array.from({ length: others }, () => container.more('sleep')));
  await observer.knows(container.id);
  main.signal('SIGUSR2');
  await Promise.all([main, ...more].map((hog) => hog.ended()));
  const kills = [
    killOf(container, 'init', 'container', main.pid),
    ...more.map(({ pid }) => killOf(container, 'child', 'container', pid)),
  ];
  // The kernel counts the one that it chose, and then all of the group.
  return { kills, counted: kills.length + 1 };
}

async function killAtPodLimit({ node, observer }: Context): Promise<Truth> {
  const pod = node.pod(48 * mib);
  const big = node.container({ pod, limitBytes: 40 * mib });
  const growing = node.container({ pod, limitBytes: 40 * mib });
  const bigMain = await big.main('hold', '30');
  await big.untilHolds(29 * mib);
  const growingMain = await growing.main('signal', '25');
  await observer.knows(big.id, growing.id);
  growingMain.signal('SIGUSR1');
  await bigMain.ended();
  // The child that asked for more is killed as well where the memory of the first comes free too late for it.
  await growing.untilRuns(1);
  const more = Array.from({ length: growing.group.oomKills }, () => killOf(growing, 'child', 'pod'));
  return { kills: [killOf(big, 'init', 'pod', bigMain.pid), ...more] };
}

async function killAtKubepodsLimit({ node, observer }: Context): Promise<Truth> {
  node.kubepods.limit(48 * mib);
  const [idle, growing] = [node.container({ limitBytes: 40 * mib }), node.container({ limitBytes: undefined })];
  await idle.main('hold', '4');
  await idle.untilHolds(4 * mib);
  const main = await growing.main('signal', '64');
  await observer.knows(idle.id, growing.id);
  main.signal('SIGUSR1');
  await growing.untilCounted(1);
  return { kills: [killOf(growing, 'child', 'node_allocatable')] };
}

async function killInNestedGroup({ node, observer }: Context): Promise<Truth> {
  const container = node.container();
  const own = container.ownProcesses();
  await node.startFirst(own, ['sleep']);
  const nested = container.group.make('nested', { limitBytes: 8 * mib });
  const victim = node.start(nested, ['signal', '24']);
  await untilReady(victim.pid);
  await observer.knows(container.id);
  victim.signal('SIGUSR2');
  await victim.ended();
  return { kills: [killOf(container, 'child', 'nested', victim.pid)] };
}

async function killTwoAtOnce({ node, observer }: Context): Promise<Truth> {
  const containers = [node.container(), node.container()];
  const mains = await Promise.all(containers.map((container) => container.main('signal', '64')));
  await observer.knows(...containers.map(({ id }) => id));
  for (const main of mains) main.signal('SIGUSR2');
  await Promise.all(mains.map((main) => main.ended()));
  return { kills: containers.map((container, n) => killOf(container, 'init', 'container', mains[n]!.pid)) };
}

async function killAndRemove({ node, observer }: Context): Promise<Truth> {
  const container = node.container();
  const main = await container.main('signal', '64');
  await observer.knows(container.id);
  main.signal('SIGUSR2');
  // Without a pause: it is gone as soon as the kernel lets it go.
  for (let busy = true; busy;) busy = !removeNow(container);
  return { kills: [killOf(container, 'init', 'container', main.pid)] };
}

function removeNow({ group }: ContainerGroup): boolean {
  try {
    group.removeSync();
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EBUSY') return false;
    throw error;
  }
}

const hostileNames = ['a),pid=1,uid=0', 'x, (y) \n z', ',global_oom,ta', 'Killed process', 'é"\\x0a'];

async function killHostileNames({ node, observer }: Context): Promise<Truth> {
  const container = node.container();
  await container.main('sleep');
  await observer.knows(container.id);
  const kills: Kill[] = [];
  for (const comm of hostileNames) {
    const victim = node.start(container.group, ['self', '64'], node.memhogNamed(comm));
    await victim.ended();
    kills.push({ ...killOf(container, 'child', 'container', victim.pid), comm });
  }
  return { kills };
}

async function killInBurst({ node, observer }: Context): Promise<Truth> {
  const container = node.container({ limitBytes: 8 * mib });
  const main = await container.main('signal', '24', '40', '45');
  await observer.knows(container.id);
  main.signal('SIGUSR1');
  await container.untilCounted(40, 30);
  return { kills: Array.from({ length: 40 }, () => killOf(container, 'child')) };
}

async function killInMany({ node, observer }: Context): Promise<Truth> {
  const containers = Array.from({ length: 20 }, () => node.container({ limitBytes: 8 * mib }));
  const main = (container: ContainerGroup) => container.mainNamed(nameOf(container), 'signal', '24', '10', '20');
  const mains = await Promise.all(containers.map(main));
  await observer.knows(...containers.map(({ id }) => id));
  for (const hog of mains) hog.signal('SIGUSR1');
  for (const container of containers) await container.untilCounted(10, 30);
  const killsOf = (container: ContainerGroup) =>
    Array.from({ length: 10 }, () => ({ ...killOf(container, 'child'), comm: nameOf(container) }));
  return { kills: containers.flatMap(killsOf) };
}

/** Shows of a victim whose it was. */
function nameOf({ id }: ContainerGroup): string {
  return `hog-${id.slice(0, 8)}`;
}

/** The process that goes beyond the limit is put to sleep until there is room. */
async function disableKills({ node, observer }: Context): Promise<Truth> {
  const container = node.container();
  container.group.write('memory.oom_control', '1');
  const main = await container.main('signal', '64');
  await observer.knows(container.id);
  main.signal('SIGUSR2');
  await untilStuckIsTold(observer, container.id);
  return { kills: [], stuck: [container.id] };
}

async function beUnkillable({ node, observer }: Context): Promise<Truth> {
  const container = node.container();
  const main = await container.main('signal', '64');
  main.adjustBadness(-1000);
  await observer.knows(container.id);
  main.signal('SIGUSR2');
  await untilStuckIsTold(observer, container.id);
  container.group.limit(128 * mib);
  return { kills: [], stuck: [container.id] };
}

async function untilStuckIsTold({ arrivals }: Context['observer'], containerId: string): Promise<void> {
  await eventually(
    'the service tells that the container is stuck',
    () =>
      arrivals.some(
        ({ record }) =>
          record.eventName === 'container.memory.stuck' && record.resource['container.id'] === containerId,
      ) || undefined,
  ).catch(() => undefined); // The judgement says so.
}

/** `f` asks for the OOM killer as the kernel does when the machine's memory is used up. */
async function killForNode({ node, observer }: Context): Promise<Truth> {
  const container = node.container({ limitBytes: 256 * mib });
  const outside = node.root.make('outside');
  const inside = await container.main('hold', '64');
  await container.untilHolds(64 * mib);
  await observer.knows(container.id);
  await killForMachine(inside);
  const other = await node.startFirst(outside, ['hold', '64']);
  await killForMachine(other);
  return {
    kills: [killOf(container, 'init', 'node', inside.pid), { victim: 'init', scope: 'node', pid: other.pid }],
  };
}

async function killForMachine(hog: Hog): Promise<void> {
  hog.adjustBadness(1000);
  writeFileSync('/proc/sysrq-trigger', 'f');
  await hog.ended();
}

async function killChildWhileDown({ node, observer }: Context): Promise<Truth> {
  const container = node.container();
  const main = await container.main('signal', '64');
  await observer.knows(container.id);
  await observer.stop();
  main.signal('SIGUSR1');
  await container.untilCounted(1);
  await observer.start();
  return { kills: [killOf(container, 'child')] };
}

async function goWhileDown({ node, observer }: Context): Promise<Truth> {
  const container = node.container();
  const main = await container.main('signal', '64');
  await observer.knows(container.id);
  await observer.stop();
  main.signal('SIGUSR2');
  await main.ended();
  await container.group.remove();
  await observer.start();
  return { kills: [killOf(container, 'init', 'container', main.pid)] };
}

async function crashAfterKill({ node, observer }: Context): Promise<Truth> {
  const container = node.container();
  const main = await container.main('signal', '64');
  await observer.knows(container.id);
  // Else it is chance whether the answer to what it told has reached it: if not, the next run tells it again.
  observer.freeze();
  main.signal('SIGUSR1');
  await container.untilCounted(1);
  await observer.crash();
  await observer.start();
  return { kills: [killOf(container, 'child')] };
}

function killOf(container: ContainerGroup, victim: Kill['victim'], scope = 'container', pid?: number): Kill {
  return { containerId: container.id, victim, scope, pid };
}
