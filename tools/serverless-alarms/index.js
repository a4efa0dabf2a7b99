'use strict';

// Adds CloudWatch alarms once the template is whole, so that no new resource can be left out:
// `RULES` says for each type of resource which alarms it gets, and a queue that none fits fails the
// packaging. `custom.alarms` holds the topic and the metrics of the service's own:
//
//   alarms:
//     topicArn: …
//     metrics:
//       - {metric: OrderParked, runbook: parked-order, means: An order waits for an operator.}

const RUNBOOKS = 'docs/runbooks';
const MINUTE = 60;
const DAY = 24 * 3600;
// SQS's own default.
const VISIBILITY_TIMEOUT = 30;

// Of dead letters nothing is lost for 14 days; half of that is left when this rings.
const DEAD_LETTER_DAYS = 7;

const RULES = {
  'AWS::SQS::Queue': queueAlarms,
};

class ServerlessAlarms {
  constructor(serverless) {
    this.serverless = serverless;
    this.hooks = {
      'after:aws:package:finalize:mergeCustomProviderResources': () => this.add(),
    };
  }

  add() {
    const { service } = this.serverless;
    const { topicArn, metrics = [] } = service.custom?.alarms ?? {};
    if (!topicArn) this.fail('custom.alarms.topicArn is missing: where should alarms go?');
    const template = service.provider.compiledCloudFormationTemplate;
    const alarms = {};
    for (const [id, resource] of Object.entries(template.Resources)) {
      const rule = RULES[resource.Type];
      if (rule) Object.assign(alarms, rule(id, resource, template, (text) => this.fail(text)));
    }
    for (const own of metrics) Object.assign(alarms, this.metricAlarm(own));
    for (const [id, properties] of Object.entries(alarms)) {
      if (template.Resources[id]) this.fail(`${id}: a resource of this name is there already`);
      template.Resources[id] = {
        Type: 'AWS::CloudWatch::Alarm',
        Properties: { ...properties, AlarmActions: [topicArn], OKActions: [topicArn] },
      };
    }
  }

  metricAlarm({ metric, runbook, means, ...rest }) {
    const unknown = Object.keys(rest);
    if (!metric || !runbook || !means || unknown.length) {
      this.fail(`custom.alarms.metrics: each needs metric, runbook and means, not ${unknown}`);
    }
    const { service } = this.serverless;
    // What the functions are told, so that the alarm cannot listen where nobody speaks.
    const { POWERTOOLS_METRICS_NAMESPACE, POWERTOOLS_SERVICE_NAME } = service.provider.environment;
    return {
      [`${metric}Alarm`]: {
        AlarmName: `${service.service}-${service.provider.stage}-${metric}`,
        AlarmDescription: described(means, runbook),
        Namespace: POWERTOOLS_METRICS_NAMESPACE,
        MetricName: metric,
        Dimensions: [{ Name: 'service', Value: POWERTOOLS_SERVICE_NAME }],
        Statistic: 'Sum',
        ...above(0),
      },
    };
  }

  fail(text) {
    throw new this.serverless.classes.Error(`serverless-alarms: ${text}`, 'ALARMS');
  }
}

function queueAlarms(id, resource, template, fail) {
  const { QueueName, RedrivePolicy, VisibilityTimeout } = resource.Properties ?? {};
  const isDeadLetters = targets(template).has(id);
  if (!isDeadLetters && !RedrivePolicy) {
    fail(`queue ${id} has no RedrivePolicy and takes nobody's dead letters: what fails is lost`);
  }
  const metric = (name, suffix, rest) => ({
    ...(typeof QueueName === 'string' && { AlarmName: `${QueueName}-${suffix}` }),
    Namespace: 'AWS/SQS',
    MetricName: name,
    Dimensions: [{ Name: 'QueueName', Value: { 'Fn::GetAtt': [id, 'QueueName'] } }],
    Statistic: 'Maximum',
    ...rest,
  });
  const alarms = {};
  if (isDeadLetters) {
    alarms[`${id}DepthAlarm`] = metric('ApproximateNumberOfMessagesVisible', 'depth', {
      AlarmDescription: described('Messages failed for good and wait to be looked at.'),
      ...above(0),
    });
    alarms[`${id}AgeAlarm`] = metric('ApproximateAgeOfOldestMessage', 'age', {
      AlarmDescription: described(
        `A dead letter has waited for ${DEAD_LETTER_DAYS} days: SQS will delete it.`
      ),
      ...above(DEAD_LETTER_DAYS * DAY),
    });
  } else {
    // At that age a message that only fails is a dead letter. One that is older still waits for
    // somebody to read it: the consumer stands still, or is slower than what comes.
    const seconds = (Number(VisibilityTimeout) || VISIBILITY_TIMEOUT) * Number(RedrivePolicy.maxReceiveCount);
    if (!(seconds > 0)) fail(`queue ${id}: RedrivePolicy.maxReceiveCount is no number`);
    alarms[`${id}AgeAlarm`] = metric('ApproximateAgeOfOldestMessage', 'age', {
      AlarmDescription: described(
        `A message waits for over ${seconds} s, longer than it could if it only failed: ` +
          'nothing reads the queue, or more comes than is read.'
      ),
      ...above(seconds),
    });
  }
  return alarms;
}

// The queues that take what failed: of a queue, of a subscription, of a function's asynchronous
// calls, of a stream's reader.
function targets(template) {
  const found = new Set();
  const walk = (value, key, parent) => {
    if (value === null || typeof value !== 'object') return;
    const isTarget =
      key === 'deadLetterTargetArn' ||
      (key === 'TargetArn' && parent === 'DeadLetterConfig') ||
      (key === 'Destination' && parent === 'OnFailure');
    if (isTarget && value['Fn::GetAtt']) found.add([value['Fn::GetAtt']].flat()[0].split('.')[0]);
    for (const [name, child] of Object.entries(value)) walk(child, name, key);
  };
  walk(template.Resources);
  return found;
}

// One minute over the line is enough, and no data is no trouble: an idle queue sends none.
function above(threshold) {
  return {
    ComparisonOperator: 'GreaterThanThreshold',
    Threshold: threshold,
    Period: MINUTE,
    EvaluationPeriods: 1,
    TreatMissingData: 'notBreaching',
  };
}

function described(means, runbook = 'dead-letters') {
  return `${means} Runbook: ${RUNBOOKS}/${runbook}.md`;
}

module.exports = ServerlessAlarms;
