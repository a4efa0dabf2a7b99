'use strict';

// `custom.afterDeploy` names functions of the service that are called, in order, once it is
// deployed. A function that fails, fails the deploy: new code must not serve on an old schema.

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
}

module.exports = ServerlessAfterDeploy;
