'use strict';

// Where a service's installed requirements are kept between packagings: a folder named for all that
// they are made of. serverless-python-requirements itself looks at requirements.txt alone, and
// would ship yesterday's shared code; and to install them anew each time takes longer than a deploy.

const { createHash } = require('node:crypto');
const fs = require('node:fs');
const path = require('node:path');

const ROOT = path.join(__dirname, '..', '..');
const MADE_OF = ['shared/pyproject.toml', 'shared/src', 'shared/serverless', 'constraints.txt', '.python-version'];

function* filesIn(name) {
  if (!fs.statSync(name).isDirectory()) {
    yield name;
    return;
  }
  for (const child of fs.readdirSync(name).sort()) {
    if (child !== '__pycache__') yield* filesIn(path.join(name, child));
  }
}

module.exports.cacheLocation = () => {
  const serviceDir = process.cwd(); // the framework runs in the service's folder
  const hash = createHash('sha256');
  const own = path.relative(ROOT, path.join(serviceDir, 'requirements.txt'));
  for (const name of [...MADE_OF, own]) {
    for (const file of filesIn(path.join(ROOT, name))) {
      hash.update(`${path.relative(ROOT, file)}\0`).update(fs.readFileSync(file)).update('\0');
    }
  }
  // A folder for each service: they are packaged side by side.
  const folder = path.join(ROOT, '.local', 'requirements', path.basename(serviceDir));
  return path.join(folder, hash.digest('hex').slice(0, 16));
};
