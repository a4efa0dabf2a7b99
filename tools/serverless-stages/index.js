'use strict';

// Gives every resource of the finished template what a stage on AWS asks for beyond the local one
// (docs/adr/0021): `RULES` says it for each type of resource, so that no new queue, table or
// function can be left out, and a stage whose `aws` is false is left as it is. The settings are
// `custom.stage.aws` (shared/serverless/stages.yml), and the service's own
//
//   databaseLogins: {DATABASE_URL: arn:aws:rds-db:…}
//
// says, for a setting that functions have, whom they may log in as with it.

const LOGIN_SETTING = /DATABASE_URL$/;

const RULES = {
  'AWS::SQS::Queue': encryptQueue,
  'AWS::SNS::Topic': encryptTopic,
  'AWS::DynamoDB::Table': keepTable,
  'AWS::S3::Bucket': keepBucket,
  'AWS::KMS::Key': keepKey,
  'AWS::Lambda::Function': placeFunction,
  'AWS::Lambda::Alias': shiftGradually,
  'AWS::ApiGateway::Deployment': watchStage,
  'AWS::StepFunctions::StateMachine': watchSaga,
};

class ServerlessStages {
  constructor(serverless) {
    this.serverless = serverless;
    this.hooks = {
      'after:aws:package:finalize:mergeCustomProviderResources': () => this.apply(),
    };
  }

  apply() {
    const { service } = this.serverless;
    const { stage, databaseLogins = {} } = service.custom ?? {};
    if (stage?.aws === undefined) this.fail('custom.stage.aws is missing: which stage is this?');
    if (stage.aws === false) return;
    const template = service.provider.compiledCloudFormationTemplate;
    const context = {
      ...stage.aws,
      // Platform makes the key; the others find it by its name.
      keyArn: template.Resources.Key ? { 'Fn::GetAtt': ['Key', 'Arn'] } : stage.aws.keyArn,
      databaseLogins,
      logRetentionInDays: stage.logRetentionInDays,
      name: service.service,
      stage: service.provider.stage,
      template,
      fail: (text) => this.fail(text),
      add: (id, resource) => {
        if (template.Resources[id]) this.fail(`${id}: a resource of this name is there already`);
        template.Resources[id] = resource;
      },
    };
    for (const [id, resource] of Object.entries(template.Resources)) {
      RULES[resource.Type]?.(id, resource, context);
    }
  }

  fail(text) {
    throw new this.serverless.classes.Error(`serverless-stages: ${text}`, 'STAGES');
  }
}

// A template may hold 60 dynamic references, and every function would bring three. A parameter, which
// CloudFormation looks up as well, is one for all of them.
function asParameters(settings, template) {
  const parameters = (template.Parameters ??= {});
  const reference = (value) => {
    const [, name] = /^\{\{resolve:ssm:(.+)\}\}$/.exec(value) ?? [];
    if (!name) return value;
    const id = name.split(/[^A-Za-z0-9]+/).map((word) => word.charAt(0).toUpperCase() + word.slice(1)).join('');
    parameters[id] = { Type: 'AWS::SSM::Parameter::Value<String>', Default: name };
    return { Ref: id };
  };
  return Object.fromEntries(
    Object.entries(settings).map(([name, values]) => [name, values.map(reference)])
  );
}

function encryptQueue(id, { Properties }, { keyArn }) {
  Properties.KmsMasterKeyId = keyArn;
}

function encryptTopic(id, { Properties }, { keyArn }) {
  Properties.KmsMasterKeyId = keyArn;
}

function keepTable(id, resource, { keyArn, deletionProtection }) {
  Object.assign(resource.Properties, {
    SSESpecification: { SSEEnabled: true, SSEType: 'KMS', KMSMasterKeyId: keyArn },
    DeletionProtectionEnabled: deletionProtection,
  });
  keep(resource, deletionProtection);
}

function keepBucket(id, resource, { keyArn, deletionProtection }) {
  // The framework's own holds what can be packaged again; its key is S3's.
  if (id === 'ServerlessDeploymentBucket') return;
  Object.assign(resource.Properties, {
    BucketEncryption: {
      ServerSideEncryptionConfiguration: [
        {
          BucketKeyEnabled: true,
          ServerSideEncryptionByDefault: { SSEAlgorithm: 'aws:kms', KMSMasterKeyID: keyArn },
        },
      ],
    },
  });
  keep(resource, deletionProtection);
}

// Data that is kept without its key is not kept.
function keepKey(id, resource, { deletionProtection }) {
  keep(resource, deletionProtection);
}

function keep(resource, deletionProtection) {
  resource.DeletionPolicy = deletionProtection ? 'Retain' : 'Delete';
  // A replacement is an accident, and loses what the old one held.
  resource.UpdateReplacePolicy = 'Retain';
}

function placeFunction(id, resource, context) {
  const { Properties } = resource;
  const settings = Object.keys(Properties.Environment?.Variables ?? {});
  const statements = [];
  const managed = [];
  const logins = settings.filter((name) => LOGIN_SETTING.test(name));
  if (logins.length) {
    Properties.VpcConfig = asParameters(context.functionsVpc, context.template);
    // AWS's own list of what a function in a VPC needs; its network interfaces are not known yet.
    managed.push('service-role/AWSLambdaVPCAccessExecutionRole');
    const missing = logins.filter((name) => !context.databaseLogins[name]);
    if (missing.length) context.fail(`${id}: custom.databaseLogins does not say who ${missing} is`);
    statements.push({
      Effect: 'Allow',
      Action: 'rds-db:connect',
      Resource: logins.map((name) => context.databaseLogins[name]),
    });
  }
  if (context.tracing) {
    Properties.TracingConfig = { Mode: 'Active' };
    statements.push({
      Effect: 'Allow',
      Action: ['xray:PutTraceSegments', 'xray:PutTelemetryRecords'],
      Resource: '*', // X-Ray knows no resources here
    });
  }
  if (!statements.length) return;
  const role = context.template.Resources[Properties.Role?.['Fn::GetAtt']?.[0]];
  if (!role) context.fail(`${id} has no role of its own in this template`);
  role.Properties.Policies = [
    ...(role.Properties.Policies ?? []),
    {
      PolicyName: 'stage',
      PolicyDocument: { Version: '2012-10-17', Statement: statements },
    },
  ];
  role.Properties.ManagedPolicyArns = [
    ...(role.Properties.ManagedPolicyArns ?? []),
    ...managed.map((name) => ({ 'Fn::Sub': `arn:\${AWS::Partition}:iam::aws:policy/${name}` })),
  ];
  if (!role.Properties.ManagedPolicyArns.length) delete role.Properties.ManagedPolicyArns;
}

// A function that has an alias is one that a customer waits for: CodeDeploy moves the alias to the
// new version bit by bit, and back if it fails.
function shiftGradually(id, resource, context) {
  const { template, gradually, name, stage } = context;
  const functionId = resource.Properties.FunctionName.Ref;
  resource.UpdatePolicy = {
    CodeDeployLambdaAliasUpdate: {
      ApplicationName: { Ref: 'GradualDeployments' },
      DeploymentGroupName: { Ref: `${functionId}Deployments` },
    },
  };
  if (!template.Resources.GradualDeployments) {
    context.add('GradualDeployments', {
      Type: 'AWS::CodeDeploy::Application',
      Properties: { ComputePlatform: 'Lambda' },
    });
    context.add('GradualDeploymentsRole', {
      Type: 'AWS::IAM::Role',
      Properties: {
        AssumeRolePolicyDocument: {
          Version: '2012-10-17',
          Statement: [
            {
              Effect: 'Allow',
              Principal: { Service: 'codedeploy.amazonaws.com' },
              Action: 'sts:AssumeRole',
            },
          ],
        },
        ManagedPolicyArns: [
          {
            'Fn::Sub':
              'arn:${AWS::Partition}:iam::aws:policy/service-role/AWSCodeDeployRoleForLambdaLimited',
          },
        ],
      },
    });
  }
  const alarm = `${functionId}RollBackAlarm`;
  context.add(alarm, {
    Type: 'AWS::CloudWatch::Alarm',
    Properties: {
      AlarmName: `${name}-${stage}-${functionId}-roll-back`,
      AlarmDescription:
        'The version that takes over fails; CodeDeploy goes back to the one before. ' +
        'Runbook: docs/runbooks/rolled-back.md',
      Namespace: 'AWS/Lambda',
      MetricName: 'Errors',
      Dimensions: [
        { Name: 'FunctionName', Value: { Ref: functionId } },
        {
          Name: 'Resource',
          Value: { 'Fn::Sub': `\${${functionId}}:${resource.Properties.Name}` },
        },
      ],
      Statistic: 'Sum',
      ComparisonOperator: 'GreaterThanThreshold',
      Threshold: 0,
      Period: 60,
      EvaluationPeriods: 1,
      TreatMissingData: 'notBreaching',
    },
  });
  context.add(`${functionId}Deployments`, {
    Type: 'AWS::CodeDeploy::DeploymentGroup',
    Properties: {
      ApplicationName: { Ref: 'GradualDeployments' },
      ServiceRoleArn: { 'Fn::GetAtt': ['GradualDeploymentsRole', 'Arn'] },
      DeploymentConfigName: `CodeDeployDefault.Lambda${gradually.replace(/^Lambda/, '')}`,
      DeploymentStyle: {
        DeploymentType: 'BLUE_GREEN',
        DeploymentOption: 'WITH_TRAFFIC_CONTROL',
      },
      AlarmConfiguration: { Enabled: true, Alarms: [{ Name: { Ref: alarm } }] },
      AutoRollbackConfiguration: {
        Enabled: true,
        Events: ['DEPLOYMENT_FAILURE', 'DEPLOYMENT_STOP_ON_ALARM', 'DEPLOYMENT_STOP_ON_REQUEST'],
      },
    },
  });
}

// The stage becomes a resource of its own: a deployment's `StageName` can say neither limits nor logs.
function watchStage(id, resource, context) {
  const { name, stage, throttling, tracing, logRetentionInDays } = context;
  const { RestApiId, StageName } = resource.Properties;
  delete resource.Properties.StageName;
  context.add('ApiAccessLog', {
    Type: 'AWS::Logs::LogGroup',
    Properties: {
      LogGroupName: `/aws/api-gateway/${name}-${stage}`,
      RetentionInDays: logRetentionInDays,
    },
  });
  context.add('ApiGatewayStage', {
    Type: 'AWS::ApiGateway::Stage',
    Properties: {
      RestApiId,
      DeploymentId: { Ref: id },
      StageName,
      TracingEnabled: tracing,
      AccessLogSetting: {
        DestinationArn: { 'Fn::GetAtt': ['ApiAccessLog', 'Arn'] },
        Format: JSON.stringify({
          requestId: '$context.requestId',
          ip: '$context.identity.sourceIp',
          requestTime: '$context.requestTime',
          httpMethod: '$context.httpMethod',
          resourcePath: '$context.resourcePath',
          status: '$context.status',
          responseLength: '$context.responseLength',
          latency: '$context.responseLatency',
          error: '$context.error.message',
          traceId: '$context.xrayTraceId',
        }),
      },
      MethodSettings: [
        {
          HttpMethod: '*',
          ResourcePath: '/*',
          MetricsEnabled: true,
          // Bodies hold addresses and payment tokens: never in a log. And no execution log: it goes
          // to a group that API Gateway makes and nobody deletes; the access log has the errors.
          DataTraceEnabled: false,
          LoggingLevel: 'OFF',
          ThrottlingRateLimit: throttling.rate,
          ThrottlingBurstLimit: throttling.burst,
        },
      ],
    },
  });
}

function watchSaga(id, resource, context) {
  const { tracing } = context;
  resource.Properties.TracingConfiguration = { Enabled: tracing };
  if (!tracing) return;
  const role = context.template.Resources[resource.Properties.RoleArn['Fn::GetAtt'][0]];
  role.Properties.Policies.push({
    PolicyName: 'stage',
    PolicyDocument: {
      Version: '2012-10-17',
      Statement: [
        {
          Effect: 'Allow',
          Action: [
            'xray:PutTraceSegments',
            'xray:PutTelemetryRecords',
            'xray:GetSamplingRules',
            'xray:GetSamplingTargets',
          ],
          Resource: '*',
        },
      ],
    },
  });
}

module.exports = ServerlessStages;
