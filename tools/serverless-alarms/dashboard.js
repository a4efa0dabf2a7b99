'use strict';

// Draws one dashboard for a service out of its finished template: what has no chart in `CHARTS` is
// no type that can stand still. The body is one Fn::Sub, so names come from the resources themselves.

const WIDTH = 12;
const HEIGHT = 6;

// For each type of resource: charts, and the lines that each resource of the type adds to them.
// A line is [namespace, metric, dimension, name, options].
const CHARTS = {
  'AWS::ApiGateway::RestApi': (id, { Name }) => [
    ['API: requests', 'Sum', ['AWS/ApiGateway', 'Count', 'ApiName', Name]],
    ['API: requests', 'Sum', ['AWS/ApiGateway', '4XXError', 'ApiName', Name]],
    ['API: requests', 'Sum', ['AWS/ApiGateway', '5XXError', 'ApiName', Name]],
    ['API: latency, ms', 'p50', ['AWS/ApiGateway', 'Latency', 'ApiName', Name, { label: 'p50' }]],
    ['API: latency, ms', 'p99', ['AWS/ApiGateway', 'Latency', 'ApiName', Name, { label: 'p99', stat: 'p99' }]],
  ],
  'AWS::StepFunctions::StateMachine': (id) => [
    ...['ExecutionsStarted', 'ExecutionsSucceeded', 'ExecutionsFailed', 'ExecutionsTimedOut', 'ExecutionsAborted'].map(
      (metric) => ['Sagas', 'Sum', ['AWS/States', metric, 'StateMachineArn', `\${${id}}`]]
    ),
    ...['p50', 'p99'].map((stat) => [
      'Saga duration, ms',
      'p50',
      ['AWS/States', 'ExecutionTime', 'StateMachineArn', `\${${id}}`, { label: stat, stat }],
    ]),
  ],
  'AWS::SQS::Queue': (id, properties, isDeadLetters) => {
    const name = `\${${id}.QueueName}`;
    return isDeadLetters
      ? [['Dead letters', 'Maximum', ['AWS/SQS', 'ApproximateNumberOfMessagesVisible', 'QueueName', name]]]
      : [
          ['Queues: age of the oldest message, s', 'Maximum', ['AWS/SQS', 'ApproximateAgeOfOldestMessage', 'QueueName', name]],
          ['Queues: messages that wait', 'Maximum', ['AWS/SQS', 'ApproximateNumberOfMessagesVisible', 'QueueName', name]],
        ];
  },
  'AWS::Lambda::Function': (id) =>
    [
      ['Functions: errors', 'Sum', 'Errors'],
      ['Functions: duration p99, ms', 'p99', 'Duration'],
      ['Functions: throttles', 'Sum', 'Throttles'],
      ['Functions: running at once', 'Maximum', 'ConcurrentExecutions'],
    ].map(([title, stat, metric]) => [title, stat, ['AWS/Lambda', metric, 'FunctionName', `\${${id}}`]]),
  'AWS::Lambda::EventSourceMapping': (id, { FunctionName, StartingPosition }) => {
    const [owner] = [FunctionName['Fn::GetAtt'] ?? FunctionName.Ref].flat();
    return StartingPosition
      ? [['Streams: age of the last record read, ms', 'Maximum', ['AWS/Lambda', 'IteratorAge', 'FunctionName', `\${${owner}}`]]]
      : [];
  },
  'AWS::Lambda::EventInvokeConfig': (id, { FunctionName: { Ref: owner } }) =>
    ['AsyncEventsDropped', 'DestinationDeliveryFailures'].map((metric) => [
      'Asynchronous calls: given up, and lost',
      'Sum',
      ['AWS/Lambda', metric, 'FunctionName', `\${${owner}}`],
    ]),
  'AWS::Events::Rule': (id, { ScheduleExpression, State }) =>
    ScheduleExpression && State !== 'DISABLED'
      ? [['Schedules: calls that failed', 'Sum', ['AWS/Events', 'FailedInvocations', 'RuleName', `\${${id}}`]]]
      : [],
  // S3 counts once a day.
  'AWS::S3::Bucket': (id) =>
    [
      ['Buckets: objects', 'NumberOfObjects', 'AllStorageTypes'],
      ['Buckets: bytes', 'BucketSizeBytes', 'StandardStorage'],
    ].map(([title, metric, storage]) => [
      title,
      'Average',
      ['AWS/S3', metric, 'BucketName', `\${${id}}`, 'StorageType', storage, { period: 86400 }],
    ]),
  'AWS::DynamoDB::Table': (id) =>
    ['ReadThrottleEvents', 'WriteThrottleEvents'].map((metric) => [
      'Tables: throttled',
      'Sum',
      ['AWS/DynamoDB', metric, 'TableName', `\${${id}}`],
    ]),
  'AWS::RDS::DBCluster': (id) => [
    ['Database: % of the capacity allowed', 'Maximum', ['AWS/RDS', 'ACUUtilization', 'DBClusterIdentifier', `\${${id}}`]],
    ['Database: connections', 'Maximum', ['AWS/RDS', 'DatabaseConnections', 'DBClusterIdentifier', `\${${id}}`]],
  ],
  'AWS::RDS::DBProxy': (id) => [
    ['Database: connections', 'Maximum', ['AWS/RDS', 'ClientConnections', 'ProxyName', `\${${id}}`]],
    ['Database: connections', 'Maximum', ['AWS/RDS', 'DatabaseConnectionsCurrentlyBorrowed', 'ProxyName', `\${${id}}`]],
    ['Database: wait for a connection, µs', 'Average', ['AWS/RDS', 'DatabaseConnectionsBorrowLatency', 'ProxyName', `\${${id}}`]],
  ],
  'AWS::SNS::Topic': (id) =>
    ['NumberOfMessagesPublished', 'NumberOfNotificationsFailed'].map((metric) => [
      'Topics',
      'Sum',
      ['AWS/SNS', metric, 'TopicName', `\${${id}.TopicName}`],
    ]),
};

// `own` is `custom.dashboard`: `metrics` are those that functions send, `counted` those that
// CloudWatch counts from logs, which have no dimensions.
function dashboard({ resources, own, environment, deadLetters, stage, name }) {
  const charts = new Map();
  const draw = (title, stat, line) => {
    if (!charts.has(title)) charts.set(title, { stat, lines: [] });
    charts.get(title).lines.push(line);
  };
  for (const { title, metrics = [], counted = [] } of own) {
    const { POWERTOOLS_METRICS_NAMESPACE, POWERTOOLS_SERVICE_NAME } = environment;
    for (const metric of metrics) {
      draw(title, 'Sum', [POWERTOOLS_METRICS_NAMESPACE, metric, 'service', POWERTOOLS_SERVICE_NAME]);
    }
    for (const metric of counted) draw(title, 'Sum', [POWERTOOLS_METRICS_NAMESPACE, metric]);
  }
  for (const [type, lines] of Object.entries(CHARTS)) {
    for (const [id, resource] of Object.entries(resources)) {
      if (resource.Type !== type) continue;
      for (const [title, stat, line] of lines(id, resource.Properties ?? {}, deadLetters.has(id))) {
        draw(title, stat, line);
      }
    }
  }
  const alarms = Object.entries(resources)
    .filter(([, { Type }]) => Type === 'AWS::CloudWatch::Alarm')
    .map(([id]) => `\${${id}.Arn}`);
  const top = Math.max(2, Math.ceil(alarms.length / 12) + 1);
  const widgets = [
    { type: 'alarm', x: 0, y: 0, width: 2 * WIDTH, height: top, properties: { title: `${name}: what rings`, alarms } },
    ...[...charts].map(([title, { stat, lines }], index) => ({
      type: 'metric',
      x: (index % 2) * WIDTH,
      y: top + Math.floor(index / 2) * HEIGHT,
      width: WIDTH,
      height: HEIGHT,
      properties: { title, stat, period: 60, region: '${AWS::Region}', view: 'timeSeries', metrics: lines },
    })),
  ];
  return {
    Type: 'AWS::CloudWatch::Dashboard',
    Properties: {
      DashboardName: `${stage}-orderflow-${name}`,
      DashboardBody: { 'Fn::Sub': JSON.stringify({ widgets }) },
    },
  };
}

module.exports = { dashboard };
