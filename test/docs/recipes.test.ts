import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { parse } from 'yaml';
import { collectorBinary } from '../helpers/collector-binary.ts';
import { requires } from '../helpers/requires.ts';

const folder = 'docs/recipes';

interface CollectorConfig {
  receivers: Record<string, unknown>;
  processors?: Record<string, unknown>;
  exporters: Record<string, unknown>;
  extensions: Record<string, unknown>;
  service: {
    extensions: string[];
    pipelines: Record<string, { receivers: string[]; processors?: string[]; exporters: string[] }>;
  };
}

function read(name: string): CollectorConfig {
  return parse(readFileSync(join(folder, name), 'utf8')) as CollectorConfig;
}

suite('the recipes for a Collector', () => {
  for (const name of readdirSync(folder)) {
    test(`${name} takes in both signals, and uses what it configures`, () => {
      const { receivers, processors = {}, exporters, extensions, service } = read(name);
      assert.deepEqual(Object.keys(service.pipelines), ['metrics', 'logs']);
      for (const pipeline of Object.values(service.pipelines)) {
        assert.deepEqual(pipeline.receivers, Object.keys(receivers));
        assert.deepEqual(pipeline.processors ?? [], Object.keys(processors));
        assert.deepEqual(pipeline.exporters, Object.keys(exporters));
      }
      assert.deepEqual(service.extensions, Object.keys(extensions));
    });
  }

  // The Collector of the tests has no k8s_attributes, with which the gateway's begins.
  for (const name of ['collector.yaml', 'kubernetes-node-collector.yaml']) {
    test(`a real Collector takes ${name}`, requires('collector'), () => {
      const env = { ...process.env, MY_POD_IP: '127.0.0.1' };
      execFileSync(collectorBinary(), ['validate', '--config', join(folder, name)], { env, stdio: 'pipe' });
    });
  }

  test('the gateway knows a pod by the uid that we send, never by who sent it', () => {
    const { pod_association } = read('kubernetes-gateway.yaml').processors!['k8s_attributes'] as {
      pod_association: unknown;
    };
    assert.deepEqual(pod_association, [{ sources: [{ from: 'resource_attribute', name: 'k8s.pod.uid' }] }]);
  });
});
