"""What lies in Orderflow's queues."""

from tests.chaos.graph import STAGE
from tests.support.cloud import Cloud

DEAD = "-dlq"
# Notes of where in a stream a change stands, from no queue: nothing to put back.
NOTES = "-days-dlq"
_COUNTS = (
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed",
)


def lengths(cloud: Cloud) -> dict[str, int]:
    """Return how many messages each of Orderflow's queues holds, whether visible or not."""
    sqs = cloud.client("sqs")
    urls = sqs.list_queues(QueueNamePrefix=f"{STAGE}-orderflow-").get("QueueUrls", [])
    found = {}
    for url in urls:
        attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=list(_COUNTS))
        found[url.rpartition("/")[2]] = sum(map(int, attributes["Attributes"].values()))
    return found


def dead_letters(cloud: Cloud) -> dict[str, int]:
    """Return how many messages are dead, by queue; queues without one are left out."""
    return {
        name: count
        for name, count in lengths(cloud).items()
        if count and name.endswith(DEAD) and not name.endswith(NOTES)
    }
