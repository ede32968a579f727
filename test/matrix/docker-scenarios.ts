import { writeFileSync } from 'node:fs';
import type Docker from 'dockerode';
import { mainPid, untilRemoved } from '../helpers/docker-host.ts';
import { eventually } from '../helpers/eventually.ts';
import type { Context, Kill, Scenario, Truth } from './scenario.ts';

const scenarios: Scenario[] = [
  { name: 'main process', run: killMain },
  { name: 'child', run: killChild },
  { name: 'exec’d process', run: killExecuted },
  { name: 'short-lived --rm container', run: killShortLived },
  { name: 'SIGKILL by hand', run: killByHand },
  { name: '`docker kill`', run: killByRuntime },
  { name: 'killer in user space', run: killFromUserSpace },
  { name: '`exit 137`', run: exitWith137 },
  { name: 'stop timeout', run: stopUntilTimeout },
  { name: 'child kill, then a clean stop', run: stopAfterKill },
  {
    name: 'agent down while the container died and went',
    needs: ['state'],
    observer: { storage: true },
    run: goWhileDown,
  },
];

/** Scenarios in which what the runtime tells is part of the evidence. */
export const dockerScenarios = scenarios.map((scenario): Scenario => ({
  ...scenario,
  needs: ['Docker', ...(scenario.needs ?? [])],
}));

async function killMain({ docker }: Context): Promise<Truth> {
  const container = await docker.run(['memhog', 'signal', '64']);
  const pid = await mainPid(container);
  process.kill(pid, 'SIGUSR2');
  await container.wait();
  return { kills: [killOf(container, 'init', pid)], exits: [exitOf(container, 'oom_container')] };
}

async function killChild({ docker }: Context): Promise<Truth> {
  const container = await docker.run(['memhog', 'signal', '64']);
  process.kill(await mainPid(container), 'SIGUSR1');
  await untilChildDied(container);
  return { kills: [killOf(container, 'child')] };
}

async function killExecuted({ docker }: Context): Promise<Truth> {
  const container = await docker.run(['memhog', 'sleep']);
  const command = await container.exec({ Cmd: ['memhog', 'self', '64'] });
  await command.start({ Detach: true });
  const { Pid: pid } = await eventually('the process has ended', async () => {
    const state = await command.inspect();
    return state.Running ? undefined : state;
  });
  return { kills: [killOf(container, 'child', pid || undefined)] };
}

async function killShortLived({ docker }: Context): Promise<Truth> {
  const container = await docker.create(['memhog', 'self', '64'], { autoRemove: true });
  await container.start();
  await untilRemoved(container);
  return { kills: [killOf(container, 'init')], exits: [exitOf(container, 'oom_container')] };
}

async function goWhileDown({ docker, observer }: Context): Promise<Truth> {
  const container = await docker.run(['memhog', 'signal', '64'], { autoRemove: true });
  const pid = await mainPid(container);
  await observer.knows(container.id);
  await observer.stop();
  process.kill(pid, 'SIGUSR2');
  await untilRemoved(container);
  await observer.start();
  return { kills: [killOf(container, 'init', pid)], exits: [exitOf(container, 'oom_container')] };
}

async function killByHand({ docker }: Context): Promise<Truth> {
  const container = await docker.run(['memhog', 'sleep']);
  process.kill(await mainPid(container), 'SIGKILL');
  await container.wait();
  return { kills: [], exits: [exitOf(container, 'killed_externally')] };
}

async function killByRuntime({ docker }: Context): Promise<Truth> {
  const container = await docker.run(['memhog', 'sleep']);
  await container.kill();
  await container.wait();
  return { kills: [], exits: [exitOf(container, 'killed_externally')] };
}

/** Says what the OOM controller of Talos says, and does what it does. */
async function killFromUserSpace({ docker }: Context): Promise<Truth> {
  const container = await docker.run(['memhog', 'sleep']);
  const pid = await mainPid(container);
  const told = JSON.stringify({ component: 'controller-runtime', cgroup: `/sys/fs/cgroup/docker/${container.id}` });
  writeFileSync('/dev/kmsg', `<12>[talos] Sending SIGKILL to cgroup ${told}\n`);
  process.kill(pid, 'SIGKILL');
  await container.wait();
  return { kills: [], exits: [exitOf(container, 'killed_by_userspace_oom')] };
}

async function exitWith137({ docker }: Context): Promise<Truth> {
  const container = await docker.run(['memhog', 'exit', '137', '20']);
  await container.wait();
  return { kills: [], exits: [exitOf(container, 'killed_externally')] };
}

async function stopUntilTimeout({ docker }: Context): Promise<Truth> {
  // As the first process of a container it ignores SIGTERM.
  const container = await docker.run(['sleep', '1000']);
  await container.stop({ t: 1 });
  return { kills: [], exits: [exitOf(container, 'stopped')] };
}

async function stopAfterKill({ docker }: Context): Promise<Truth> {
  const container = await docker.run(['memhog', 'signal', '64']);
  process.kill(await mainPid(container), 'SIGUSR1');
  await untilChildDied(container);
  await container.stop();
  return { kills: [killOf(container, 'child')], exits: [exitOf(container, 'stopped')] };
}

async function untilChildDied(container: Docker.Container): Promise<void> {
  const printed = async () => (await container.logs({ stdout: true })).toString();
  await eventually('the child was killed', async () => (await printed()).includes('killed') || undefined);
}

function killOf({ id }: Docker.Container, victim: Kill['victim'], pid?: number): Kill {
  return { containerId: id, victim, scope: 'container', pid };
}

function exitOf({ id }: Docker.Container, cause: string): { containerId: string; cause: string } {
  return { containerId: id, cause };
}
