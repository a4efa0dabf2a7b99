'use strict';

// Adds CloudWatch alarms once the template is whole, so that no new resource can be left out:
// `RULES` says for each type of resource which alarms it gets, and a queue that none fits fails the
// packaging. A stage on AWS (`custom.stage.aws`) gets those of `AWS_RULES` too, and a dashboard
// (dashboard.js). `custom.alarms` holds the topic and the metrics of the service's own:
//
//   alarms:
//     topicArn: …
//     metrics:
//       - {metric: OrderParked, runbook: parked-order, means: An order waits for an operator.}

const { dashboard } = require('./dashboard');

const RUNBOOKS = 'docs/runbooks';
const MINUTE = 60;
const HOUR = 3600;
const DAY = 24 * HOUR;
const WEEK = 7 * DAY;
// SQS's own default.
const VISIBILITY_TIMEOUT = 30;

// Of dead letters nothing is lost for 14 days; half of that is left when this rings.
const DEAD_LETTER_DAYS = 7;

const RULES = {
  'AWS::SQS::Queue': queueAlarms,
};

const AWS_RULES = {
  'AWS::Lambda::Function': functionAlarms,
  'AWS::Lambda::EventSourceMapping': streamAlarms,
  'AWS::Lambda::EventInvokeConfig': undeliverableAlarm,
  'AWS::Events::Rule': scheduleAlarms,
  'AWS::StepFunctions::StateMachine': sagaAlarms,
  'AWS::ApiGateway::RestApi': apiAlarms,
  'AWS::DynamoDB::Table': tableAlarms,
  'AWS::RDS::DBCluster': clusterAlarms,
  'AWS::RDS::DBProxy': proxyAlarms,
  'AWS::SNS::Topic': topicAlarms,
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
    const onAws = Boolean(service.custom.stage?.aws);
    const template = service.provider.compiledCloudFormationTemplate;
    const alarms = {};
    for (const [id, resource] of Object.entries(template.Resources)) {
      const rules = [RULES[resource.Type], onAws && AWS_RULES[resource.Type]].filter(Boolean);
      for (const rule of rules) {
        Object.assign(alarms, rule(id, resource, template, (text) => this.fail(text)));
      }
    }
    for (const own of metrics) Object.assign(alarms, this.metricAlarm(own));
    for (const [id, properties] of Object.entries(alarms)) {
      if (template.Resources[id]) this.fail(`${id}: a resource of this name is there already`);
      template.Resources[id] = { Type: 'AWS::CloudWatch::Alarm', Properties: properties };
    }
    // Those that others have added ring there as well.
    for (const { Type, Properties } of Object.values(template.Resources)) {
      if (Type === 'AWS::CloudWatch::Alarm') {
        Object.assign(Properties, { AlarmActions: [topicArn], OKActions: [topicArn] });
        if (Properties.TreatMissingData === 'missing') Properties.InsufficientDataActions = [topicArn];
      }
    }
    if (!onAws) return;
    template.Resources.Dashboard = dashboard({
      resources: template.Resources,
      own: service.custom.dashboard ?? [],
      environment: service.provider.environment ?? {},
      deadLetters: targets(template),
      stage: service.provider.stage,
      name: service.service,
    });
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

// A failure that a retry heals is no trouble, so one bad minute rings nothing; three within twenty do,
// which is also what a scheduled run makes of it that fails with both its retries.
function repeatedly(threshold = 0) {
  return { ...above(threshold), EvaluationPeriods: 20, DatapointsToAlarm: 3 };
}

function steadily(threshold, minutes) {
  return { ...above(threshold), EvaluationPeriods: minutes, DatapointsToAlarm: minutes };
}

function functionAlarms(id, { Properties: { FunctionName } }) {
  const metric = (name, suffix, means) => ({
    AlarmName: `${FunctionName}-${suffix}`,
    AlarmDescription: described(means, 'failing-function'),
    Namespace: 'AWS/Lambda',
    MetricName: name,
    Dimensions: [{ Name: 'FunctionName', Value: { Ref: id } }],
    Statistic: 'Sum',
    ...repeatedly(),
  });
  return {
    [`${id}ErrorsAlarm`]: metric('Errors', 'errors', 'The function fails again and again: retries do not heal it.'),
    [`${id}ThrottlesAlarm`]: metric('Throttles', 'throttles', 'Calls of the function are turned away: too many run already.'),
  };
}

function streamAlarms(id, resource) {
  const { FunctionName, StartingPosition } = resource.Properties;
  if (!StartingPosition) return {};
  const [owner] = [FunctionName['Fn::GetAtt'] ?? FunctionName.Ref].flat();
  return {
    ...undeliverableAlarm(id, resource),
    // One for each function, however many streams it reads: the metric knows the function only.
    [`${owner}IteratorAgeAlarm`]: {
      AlarmDescription: described('Changes of a table wait for over ten minutes for their reader.', 'failing-function'),
      Namespace: 'AWS/Lambda',
      MetricName: 'IteratorAge',
      Dimensions: [{ Name: 'FunctionName', Value: { Ref: owner } }],
      Statistic: 'Maximum',
      ...steadily(10 * MINUTE * 1000, 3),
    },
  };
}

// What fails for good is put into dead letters by Lambda itself, in the function's name: of asynchronous
// calls, and of a stream's records.
function undeliverableAlarm(id, { Properties: { FunctionName, DestinationConfig } }) {
  if (!DestinationConfig?.OnFailure) return {};
  const [owner] = [FunctionName['Fn::GetAtt'] ?? FunctionName.Ref].flat();
  return {
    [`${owner}UndeliverableAlarm`]: {
      AlarmDescription: described(
        'What the function failed at for good could not be put among its dead letters: it is lost.',
        'undelivered'
      ),
      Namespace: 'AWS/Lambda',
      MetricName: 'DestinationDeliveryFailures',
      Dimensions: [{ Name: 'FunctionName', Value: { Ref: owner } }],
      Statistic: 'Sum',
      ...above(0),
    },
  };
}

// That the function then fails is for its own alarms.
function scheduleAlarms(id, { Properties: { State, ScheduleExpression, Targets } }) {
  if (!ScheduleExpression || State === 'DISABLED') return {};
  const metric = (name, means, rest) => ({
    AlarmDescription: described(means, 'failing-function'),
    Namespace: 'AWS/Events',
    MetricName: name,
    Dimensions: [{ Name: 'RuleName', Value: { Ref: id } }],
    Statistic: 'Sum',
    ...rest,
  });
  const alarms = {
    [`${id}Alarm`]: metric(
      'FailedInvocations',
      'The clock cannot call the function: what runs by itself does not.',
      above(0)
    ),
  };
  const window = silence(ScheduleExpression);
  const isPing = Targets.every(({ Input }) => Input?.includes('"warm_up"')); // nothing waits for one
  if (window && !isPing) {
    alarms[`${id}SilentAlarm`] = metric('Invocations', 'The clock has stopped calling the function.', {
      // Never true, since no call is no data. That there is none any more rings; that there is none
      // yet, on the day of the first deployment, does not.
      ComparisonOperator: 'LessThanThreshold',
      Threshold: 1,
      TreatMissingData: 'missing',
      ...window,
    });
  }
  return alarms;
}

// After how long without a call a schedule has stopped: two of its intervals, or ten minutes. Null
// where that is over a week, on which CloudWatch does not look back.
function silence(expression) {
  const interval = intervalOf(expression);
  if (interval > WEEK) return null;
  if (interval > DAY) return { Period: DAY, EvaluationPeriods: 7 };
  return { Period: Math.max(interval, 5 * MINUTE), EvaluationPeriods: 2 };
}

// The longest time between two calls, in seconds.
function intervalOf(expression) {
  const [, kind, text] = /^(rate|cron)\((.+)\)$/.exec(expression);
  const fields = text.split(' ');
  if (kind === 'rate') {
    const [count, unit] = fields;
    return Number(count) * { minute: MINUTE, hour: HOUR, day: DAY }[unit.replace(/s$/, '')];
  }
  const [, , dayOfMonth, month, dayOfWeek] = fields.map((field) => field === '*' || field === '?');
  if (!dayOfMonth || !month) return Infinity;
  return dayOfWeek ? DAY : WEEK;
}

function sagaAlarms(id) {
  const dimension = { Name: 'StateMachineArn', Value: { Ref: id } };
  const ends = { failed: 'ExecutionsFailed', late: 'ExecutionsTimedOut', stopped: 'ExecutionsAborted' };
  return {
    [`${id}EndsAlarm`]: {
      AlarmDescription: described(
        'A saga ended without bringing its order to an end; the reconciler undoes it within minutes.',
        'saga-without-an-end'
      ),
      Metrics: [
        { Id: 'all', Expression: Object.keys(ends).join(' + '), Label: 'sagas without an end', ReturnData: true },
        ...Object.entries(ends).map(([Id, MetricName]) => ({
          Id,
          ReturnData: false,
          MetricStat: {
            Metric: { Namespace: 'AWS/States', MetricName, Dimensions: [dimension] },
            Period: MINUTE,
            Stat: 'Sum',
          },
        })),
      ],
      ComparisonOperator: 'GreaterThanThreshold',
      Threshold: 0,
      EvaluationPeriods: 1,
      TreatMissingData: 'notBreaching',
    },
  };
}

function apiAlarms(id, { Properties: { Name } }) {
  const metric = (MetricName, means, rest) => ({
    AlarmDescription: described(means, 'failing-api'),
    Namespace: 'AWS/ApiGateway',
    MetricName,
    Dimensions: [{ Name: 'ApiName', Value: Name }],
    ...rest,
  });
  return {
    [`${id}ErrorsAlarm`]: metric('5XXError', 'Customers get errors that are ours, again and again.', {
      Statistic: 'Sum',
      ...repeatedly(),
    }),
    [`${id}LatencyAlarm`]: metric('Latency', 'One request in a hundred takes longer than three seconds.', {
      ExtendedStatistic: 'p99',
      ...steadily(3000, 10),
    }),
  };
}

function tableAlarms(id) {
  return Object.fromEntries(
    ['Read', 'Write'].map((way) => [
      `${id}${way}ThrottlesAlarm`,
      {
        AlarmDescription: described('The table turns requests away again and again.', 'busy-table'),
        Namespace: 'AWS/DynamoDB',
        MetricName: `${way}ThrottleEvents`,
        Dimensions: [{ Name: 'TableName', Value: { Ref: id } }],
        Statistic: 'Sum',
        ...repeatedly(),
      },
    ])
  );
}

function clusterAlarms(id) {
  return {
    [`${id}CapacityAlarm`]: {
      AlarmDescription: described(
        'The database has used over 90 % of the capacity that it may grow to for a quarter of an hour.',
        'busy-database'
      ),
      Namespace: 'AWS/RDS',
      MetricName: 'ACUUtilization',
      Dimensions: [{ Name: 'DBClusterIdentifier', Value: { Ref: id } }],
      Statistic: 'Maximum',
      ...steadily(90, 15),
    },
  };
}

function proxyAlarms(id) {
  return {
    [`${id}WaitAlarm`]: {
      AlarmDescription: described(
        'Functions wait for over half a second until the proxy lends them a connection.',
        'busy-database'
      ),
      Namespace: 'AWS/RDS',
      MetricName: 'DatabaseConnectionsBorrowLatency',
      Dimensions: [{ Name: 'ProxyName', Value: { Ref: id } }],
      Statistic: 'Average',
      ...steadily(500_000, 5), // in microseconds
    },
  };
}

function topicAlarms(id) {
  return {
    [`${id}UndeliveredAlarm`]: {
      AlarmDescription: described('A topic cannot deliver a message to a queue that has subscribed.', 'undelivered'),
      Namespace: 'AWS/SNS',
      MetricName: 'NumberOfNotificationsFailed',
      Dimensions: [{ Name: 'TopicName', Value: { 'Fn::GetAtt': [id, 'TopicName'] } }],
      Statistic: 'Sum',
      ...above(0),
    },
  };
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
