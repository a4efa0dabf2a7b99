'use strict';

// `custom.afterDeploy` says what is done, in order, once the service is deployed: `migrate` calls that
// function of the service, `{program: tools.database_roles}` runs that Python module for this service
// and stage. What fails, fails the deploy: new code must not serve on an old schema.

const { spawnSync } = require('node:child_process');
const path = require('node:path');
const { InvokeCommand, LambdaClient } = require('@aws-sdk/client-lambda');

class ServerlessAfterDeploy {
  constructor(serverless, options, { log }) {
    this.serverless = serverless;
    this.log = log;
    this.hooks = { 'after:deploy:deploy': () => this.call() };
  }

  async call() {
    const config = await this.serverless.getProvider('aws').getAwsSdkV3Config();
    const lambda = new LambdaClient(config);
    for (const name of this.serverless.service.custom?.afterDeploy ?? []) {
      if (name.program) {
        this.run(name.program, config);
        continue;
      }
      const FunctionName = this.serverless.service.getFunction(name).name;
      const answer = await lambda.send(new InvokeCommand({ FunctionName, Payload: '{}' }));
      const payload = Buffer.from(answer.Payload ?? '').toString();
      if (answer.FunctionError) {
        throw new this.serverless.classes.Error(
          `${FunctionName} failed after the deploy: ${payload}\n` +
            `The new code is live. Read its log (make logs SERVICE=${this.serverless.service.service}), ` +
            'repair, and deploy again.',
          'AFTER_DEPLOY_CALL_FAILED'
        );
      }
      this.log.notice(`${FunctionName}: ${payload}`);
    }
  }

  run(program, { region }) {
    const { service, provider, custom } = this.serverless.service;
    const root = path.join(__dirname, '../..');
    const python = path.resolve(this.serverless.serviceDir, custom.pythonRequirements.pythonBin);
    const args = ['-m', program, '--service', service, '--stage', provider.stage];
    const done = spawnSync(python, args, {
      cwd: root,
      env: { ...process.env, AWS_DEFAULT_REGION: region },
      encoding: 'utf8',
    });
    if (done.error || done.status !== 0) {
      throw new this.serverless.classes.Error(
        `${program} failed after the deploy: ${done.error ?? done.stderr}`,
        'AFTER_DEPLOY_PROGRAM_FAILED'
      );
    }
    this.log.notice(done.stdout.trim());
  }
}

module.exports = ServerlessAfterDeploy;
