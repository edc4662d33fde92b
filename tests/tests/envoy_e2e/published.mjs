// Holds manifests against the validators that packages of npm carry of the published definitions of Envoy Gateway and
// the Gateway API. Reads a JSON list of documents, prints a JSON list of what is wrong with each.
//
// usage: node published.mjs FOLDER_OF_PACKAGES
import { readFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';

const MODELS = {
  'gateway.envoyproxy.io/v1alpha1': 'envoy-gateway/_schemas/ComGithubEnvoyproxyGatewayApiV1alpha1',
  'gateway.networking.k8s.io/v1': 'gateway-api/_schemas/IoK8sSigsGatewayApiApisV1',
  'gateway.networking.k8s.io/v1alpha3': 'gateway-api/_schemas/IoK8sSigsGatewayApiApisV1alpha3',
};

const faults = [];
for (const document of JSON.parse(readFileSync(0, 'utf8'))) {
  const model = MODELS[document.apiVersion];
  if (!model) throw new Error(`nothing is known of ${document.apiVersion}`);
  const file = `${process.argv[2]}/@kubernetes-models/${model}${document.kind}.js`;
  const { validate } = await import(pathToFileURL(file));
  const errors = validate(document) ? [] : validate.errors;
  faults.push(errors.map(({ instancePath, message, keyword }) => `${instancePath}: ${message ?? keyword}`));
}
console.log(JSON.stringify(faults));
