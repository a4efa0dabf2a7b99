'use strict';

// Runs last in packaging, on the finished zip. Lambda's code folder is read-only and the framework
// zeroes the dates inside the zip, so timestamp-based bytecode is stale on arrival and every module
// is compiled again in every cold start. Hash-based, unchecked bytecode is never stale. What else
// is left out, repack.py says.

const fs = require('node:fs/promises');
const path = require('node:path');
const { execFile } = require('node:child_process');
const { promisify } = require('node:util');

// The one that serverless-python-requirements fills the zip with.
const JSZip = require(require.resolve('jszip', { paths: [require.resolve('serverless-python-requirements')] }));

const SCRIPT = path.join(__dirname, 'repack.py');

class ServerlessBytecode {
  constructor(serverless) {
    this.serverless = serverless;
    const { compression } = JSZip.defaults;
    this.hooks = {
      // The first zip is unpacked again at once: to deflate it, in JavaScript, takes longer than all the rest.
      'before:package:createDeploymentArtifacts': () => {
        JSZip.defaults.compression = 'STORE';
      },
      'after:package:createDeploymentArtifacts': async () => {
        JSZip.defaults.compression = compression;
        await this.repack();
        await this.forget();
      },
    };
  }

  // Yesterday's requirements, which nobody asks for again.
  async forget() {
    const { cacheLocation } = this.serverless.service.custom.pythonRequirements;
    const folder = path.dirname(cacheLocation);
    for (const name of await fs.readdir(folder)) {
      if (name !== path.basename(cacheLocation)) {
        await fs.rm(path.join(folder, name), { recursive: true, force: true });
      }
    }
  }

  async repack() {
    const { service, serviceDir } = this.serverless;
    const python = service.custom?.pythonRequirements?.pythonBin ?? 'python3';
    const artifacts = new Set(
      [service.package?.artifact, ...Object.values(service.functions).map((f) => f.package?.artifact)]
        .filter(Boolean)
        .map((artifact) => path.resolve(serviceDir, artifact))
    );
    const own = [service.service, 'shared'].flatMap((name) => ['--own', name]);
    // A service's list may hold the shared one: included files cannot be merged otherwise.
    const drop = (service.custom?.bytecode?.drop ?? []).flat().flatMap((name) => ['--drop', name]);
    for (const artifact of artifacts) {
      await promisify(execFile)(python, [SCRIPT, artifact, ...own, ...drop], { cwd: serviceDir });
    }
  }
}

module.exports = ServerlessBytecode;
