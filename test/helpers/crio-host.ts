import { startCriHost, testImage, type CriHost } from './cri-host.ts';

/** Starts the CRI-O on the PATH with the test image in its storage. */
export async function startCrio(): Promise<CriHost> {
  return startCriHost({ name: 'crio', upArguments: [await testImage()] });
}
