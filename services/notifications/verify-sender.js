'use strict';

// The local cloud does not know AWS::SES::EmailIdentity, and its SES refuses senders that nobody
// has verified. So after a deployment to the stage `local`, and only there, this asks it to.

class VerifySender {
  constructor(serverless, options, { log } = {}) {
    this.serverless = serverless;
    this.log = log;
    this.hooks = { 'after:deploy:deploy': () => this.verify() };
  }

  async verify() {
    const { service } = this.serverless;
    const endpoint = process.env.AWS_ENDPOINT_URL;
    if (service.provider.stage !== 'local' || !endpoint) return;
    const sender = service.functions.sendEmail.environment.SENDER_EMAIL;
    const region = service.provider.region;
    const answer = await fetch(endpoint, {
      method: 'POST',
      headers: {
        // It looks at the service's name in here, and not at the signature.
        Authorization: `AWS4-HMAC-SHA256 Credential=test/20260101/${region}/ses/aws4_request, SignedHeaders=host, Signature=0`,
      },
      body: new URLSearchParams({
        Action: 'VerifyEmailIdentity',
        EmailAddress: sender,
        Version: '2010-12-01',
      }),
    });
    if (!answer.ok) throw new Error(`SES did not verify ${sender}: ${await answer.text()}`);
    this.log?.notice(`SES sends as ${sender}`);
  }
}

module.exports = VerifySender;
