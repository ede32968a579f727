/** What daemons really sent: events line by line, and answers cut to the fields that we read. */

const ids = { docker28: '9bbc0d09f36a220e369be32781277345be5016d709d2c127cd025b97c3765ae7' };

/** An id that is one. */
export const anId = ids.docker28;
export const anotherId = '4e86106f89d059617f98ad211b4c92433ec1a880741c5b90554d8fd0722c0fb2';

/** Docker 20.10.24: `docker run --rm` of a container that runs out of memory. */
export const docker20 = {
  containerId: anotherId,
  start: `{"status":"start","id":"${anotherId}","from":"localhost/exit137-test:1","Type":"container","Action":"start","Actor":{"ID":"${anotherId}","Attributes":{"image":"localhost/exit137-test:1","name":"exciting_babbage"}},"scope":"local","time":1795244282,"timeNano":1795244282059770519}`,
  oom: `{"status":"oom","id":"${anotherId}","from":"localhost/exit137-test:1","Type":"container","Action":"oom","Actor":{"ID":"${anotherId}","Attributes":{"image":"localhost/exit137-test:1","name":"exciting_babbage"}},"scope":"local","time":1795244282,"timeNano":1795244282112707806}`,
  die: `{"status":"die","id":"${anotherId}","from":"localhost/exit137-test:1","Type":"container","Action":"die","Actor":{"ID":"${anotherId}","Attributes":{"exitCode":"137","image":"localhost/exit137-test:1","name":"exciting_babbage"}},"scope":"local","time":1795244282,"timeNano":1795244282134520378}`,
  destroy: `{"status":"destroy","id":"${anotherId}","from":"localhost/exit137-test:1","Type":"container","Action":"destroy","Actor":{"ID":"${anotherId}","Attributes":{"image":"localhost/exit137-test:1","name":"exciting_babbage"}},"scope":"local","time":1795244282,"timeNano":1795244282144675013}`,
};

/** Docker 28.5.2: a container with the labels exitCode=9, foo=bar and name=evil, renamed, paused and stopped with 0. */
export const docker28 = {
  containerId: anId,
  start: `{"status":"start","id":"${anId}","from":"localhost/exit137-test:1","Type":"container","Action":"start","Actor":{"ID":"${anId}","Attributes":{"exitCode":"9","foo":"bar","image":"localhost/exit137-test:1","name":"aa"}},"scope":"local","time":1795244505,"timeNano":1795244505432131647}`,
  rename: `{"status":"rename","id":"${anId}","from":"localhost/exit137-test:1","Type":"container","Action":"rename","Actor":{"ID":"${anId}","Attributes":{"exitCode":"9","foo":"bar","image":"localhost/exit137-test:1","name":"bb","oldName":"/aa"}},"scope":"local","time":1795244505,"timeNano":1795244505454241755}`,
  kill: `{"status":"kill","id":"${anId}","from":"localhost/exit137-test:1","Type":"container","Action":"kill","Actor":{"ID":"${anId}","Attributes":{"exitCode":"9","foo":"bar","image":"localhost/exit137-test:1","name":"bb","signal":"15"}},"scope":"local","time":1795244505,"timeNano":1795244505588448746}`,
  die: `{"status":"die","id":"${anId}","from":"localhost/exit137-test:1","Type":"container","Action":"die","Actor":{"ID":"${anId}","Attributes":{"execDuration":"0","exitCode":"9","foo":"bar","image":"localhost/exit137-test:1","name":"bb"}},"scope":"local","time":1795244505,"timeNano":1795244505642453149}`,
};

/** Podman 4.3.1: a container with the labels foo=bar and name=evil. It says `remove` where Docker says `destroy`. */
export const podman4 = {
  containerId: 'a86d0fdaea119432a935d4e2de01c8b89d917a1c5d641d7d55263c945b5a595a',
  start:
    '{"status":"start","id":"a86d0fdaea119432a935d4e2de01c8b89d917a1c5d641d7d55263c945b5a595a","from":"localhost/exit137-test:1","Type":"container","Action":"start","Actor":{"ID":"a86d0fdaea119432a935d4e2de01c8b89d917a1c5d641d7d55263c945b5a595a","Attributes":{"containerExitCode":"0","foo":"bar","image":"localhost/exit137-test:1","name":"a","podId":""}},"scope":"local","time":1795244286,"timeNano":1795244286717086311}',
  kill: '{"status":"kill","id":"a86d0fdaea119432a935d4e2de01c8b89d917a1c5d641d7d55263c945b5a595a","from":"localhost/exit137-test:1","Type":"container","Action":"kill","Actor":{"ID":"a86d0fdaea119432a935d4e2de01c8b89d917a1c5d641d7d55263c945b5a595a","Attributes":{"containerExitCode":"0","foo":"bar","image":"localhost/exit137-test:1","name":"b","podId":""}},"scope":"local","time":1795244286,"timeNano":1795244286838628117}',
  die: '{"status":"die","id":"a86d0fdaea119432a935d4e2de01c8b89d917a1c5d641d7d55263c945b5a595a","from":"localhost/exit137-test:1","Type":"container","Action":"die","Actor":{"ID":"a86d0fdaea119432a935d4e2de01c8b89d917a1c5d641d7d55263c945b5a595a","Attributes":{"containerExitCode":"0","exitCode":"0","foo":"bar","image":"localhost/exit137-test:1","name":"b","podId":""}},"scope":"local","time":1795244286,"timeNano":1795244286895592886}',
  remove:
    '{"status":"remove","id":"a86d0fdaea119432a935d4e2de01c8b89d917a1c5d641d7d55263c945b5a595a","from":"localhost/exit137-test:1","Type":"container","Action":"remove","Actor":{"ID":"a86d0fdaea119432a935d4e2de01c8b89d917a1c5d641d7d55263c945b5a595a","Attributes":{"containerExitCode":"0","foo":"bar","image":"localhost/exit137-test:1","name":"b","podId":""}},"scope":"local","time":1795244287,"timeNano":1795244287039691903}',
};

/** GET /version. */
export const versions = {
  docker20: {
    Platform: { Name: '' },
    Components: [
      { Name: 'Engine', Version: '20.10.24+dfsg1', Details: { ApiVersion: '1.41' } },
      { Name: 'containerd', Version: '1.6.20~ds1', Details: { GitCommit: '1.6.20~ds1-1+deb12u3' } },
    ],
    Version: '20.10.24+dfsg1',
    ApiVersion: '1.41',
  },
  docker28: {
    Platform: { Name: '' },
    Components: [
      { Name: 'Engine', Version: '28.5.2+dfsg4', Details: { ApiVersion: '1.51' } },
      { Name: 'containerd', Version: '2.1.9+unknown', Details: { GitCommit: '' } },
    ],
    Version: '28.5.2+dfsg4',
    ApiVersion: '1.51',
  },
  podman4: {
    Platform: { Name: 'linux/amd64/debian-12' },
    Components: [
      { Name: 'Podman Engine', Version: '4.3.1', Details: { APIVersion: '4.3.1' } },
      { Name: 'Conmon', Version: 'conmon version 2.1.6, commit: unknown', Details: {} },
    ],
    Version: '4.3.1',
    ApiVersion: '1.41',
  },
};

/** GET /containers/{id}/json. */
export const inspections = {
  /** Docker 28.5.2, in its first life. */
  docker28Running: {
    Id: anId,
    Created: '2026-11-21T07:01:45.0934217Z',
    Name: '/bb',
    RestartCount: 0,
    State: {
      Status: 'running',
      Running: true,
      Paused: false,
      Restarting: false,
      OOMKilled: false,
      Dead: false,
      Pid: 23190,
      ExitCode: 0,
      Error: '',
      StartedAt: '2026-11-21T07:01:45.307549386Z',
      FinishedAt: '0001-01-01T00:00:00Z',
    },
    Config: { Image: 'localhost/exit137-test:1', Labels: { exitCode: '9', foo: 'bar', name: 'evil' } },
  },
  /** Docker 28.5.2, waiting before the third life that `--restart always` gives it. */
  docker28Restarting: {
    Id: anId,
    Created: '2026-11-21T07:01:46.2518372Z',
    Name: '/rr',
    RestartCount: 2,
    State: {
      Status: 'restarting',
      Running: true,
      Paused: false,
      Restarting: true,
      OOMKilled: false,
      Dead: false,
      Pid: 0,
      ExitCode: 3,
      Error: '',
      StartedAt: '2026-11-21T07:01:47.039946535Z',
      FinishedAt: '2026-11-21T07:01:47.181393543Z',
    },
    Config: { Image: 'localhost/exit137-test:1', Labels: {} },
  },
  /** Docker 28.5.2: its command does not exist, so that it never ran. */
  docker28NeverStarted: {
    Id: anId,
    Created: '2026-11-21T07:01:47.8518372Z',
    Name: '/nope',
    RestartCount: 0,
    State: {
      Status: 'created',
      Running: false,
      Paused: false,
      Restarting: false,
      OOMKilled: false,
      Dead: false,
      Pid: 0,
      ExitCode: 127,
      Error: 'failed to create task for container',
      StartedAt: '0001-01-01T00:00:00Z',
      FinishedAt: '0001-01-01T00:00:00Z',
    },
    Config: { Image: 'localhost/exit137-test:1', Labels: {} },
  },
  /** Podman 4.3.1, on a host whose zone is not UTC. */
  podman4Exited: {
    Id: anId,
    Created: '2026-11-21T07:59:16.569614998+01:00',
    Name: '/s4',
    RestartCount: 0,
    State: {
      Status: 'exited',
      Running: false,
      Paused: false,
      Restarting: false,
      OOMKilled: false,
      Dead: false,
      Pid: 0,
      ExitCode: 0,
      Error: '',
      StartedAt: '2026-11-21T07:59:16.643566064+01:00',
      FinishedAt: '2026-11-21T07:59:16.962277601+01:00',
      Health: { Status: '', FailingStreak: 0, Log: null },
    },
    Config: { Image: 'localhost/exit137-test:1', Labels: {} },
  },
};
