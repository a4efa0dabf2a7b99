"""An ECR without a repository: `sls remove` asks whether there is one, and then goes on."""

from typing import NoReturn

from localstack.aws.api import CommonServiceException, RequestContext, ServiceRequest, handler
from localstack.services.plugins import Service, aws_provider


class EmptyRegistry:
    """LocalStack's community edition has no ECR at all."""

    service = "ecr"
    version = "2015-09-21"

    @handler("DescribeRepositories", expand=False)
    def describe_repositories(self, _context: RequestContext, request: ServiceRequest) -> NoReturn:
        """Refuse as AWS does when the repository does not exist."""
        self._refuse(request)

    @handler("ListImages", expand=False)
    def list_images(self, _context: RequestContext, request: ServiceRequest) -> NoReturn:
        """Refuse in the same way."""
        self._refuse(request)

    @staticmethod
    def _refuse(request: ServiceRequest) -> NoReturn:
        name = request.get("repositoryName") or request.get("repositoryNames")
        raise CommonServiceException(
            "RepositoryNotFoundException",
            f"The repository with name '{name}' does not exist in the registry",
        )


@aws_provider(api="ecr")  # type: ignore[untyped-decorator]
def ecr() -> Service:
    """Loaded at the first request."""
    return Service.for_provider(EmptyRegistry())
