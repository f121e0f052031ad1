"""The customer runs bots himself: ``bot.state_change`` tells him when one is to join."""

from calendar_pipeline.bots.port import GivenBack, Kept, Order, Taken


class WebhookRunner:
    """Asks nobody. The outbox, written with the bot's change to ``joining``, is what tells the customer."""

    def launch(self, order: Order) -> Taken:
        """Said by the webhook."""
        del order
        return Taken(None)

    def recall(self, order: Order) -> GivenBack | Kept:
        """There is nobody to ask once the customer has been told."""
        del order
        return Kept("not_possible")
