"""Starts jobs that may have killed an earlier owner: announced before, and alone where they have no further start."""

from lamplighter.contracts import HasFurtherStart
from lamplighter.kafka.scheduling.delivery import KafkaDelivery
from lamplighter.kafka.scheduling.failures import mark_of


class CarefulStart:
    """The one job that waits to be started carefully, or is alone in hand; nothing else begins meanwhile.

    An owner that was killed from outside may have had thousands in hand: one after the other they would take hours. So
    those that may be started once more, if this owner dies too, run beside each other, as many as there are slots:
    though others wait for their pushes alone, the next owner would have to run as many one by one.
    """

    def __init__(self, has_further_start: HasFurtherStart | None, *, slots: int) -> None:
        self._has_further_start = has_further_start
        self._slots = slots
        self._delivery: KafkaDelivery | None = None
        self._is_in_hand = False

    def __bool__(self) -> bool:
        """Whether nothing else may begin."""
        return self._delivery is not None

    def put(self, delivery: KafkaDelivery) -> None:
        """Have this one started next."""
        # Beside others it is blamed for no more than one crash: the next time it is alone.
        delivery.may_have_company = (
            not delivery.has_crashed and self._has_further_start is not None and self._has_further_start(delivery)
        )
        self._delivery, self._is_in_hand = delivery, False

    @property
    def waiting(self) -> KafkaDelivery | None:
        """The one that waits to be started."""
        return None if self._is_in_hand else self._delivery

    def start(self, *, kept: int) -> KafkaDelivery | None:
        """The one that waits, when the broker knows that it starts; None until then. `kept` others are in hand."""
        delivery = self.waiting
        if delivery is None or kept >= (self._slots if delivery.may_have_company else 1):
            return None
        partition = delivery.partition
        if delivery.version == 0:
            mark = mark_of(delivery, retries=delivery.retries + 1, in_hand=True)
            partition.marks.put(delivery.offset, mark)
            delivery.version = partition.tell()
        if partition.acked < delivery.version:
            return None
        delivery.version = 0
        if delivery.may_have_company:
            self._delivery = None
        else:
            self._is_in_hand = True
        return delivery

    def let_go(self, delivery: KafkaDelivery) -> None:
        """It has come to an end, or waits in its place again."""
        if self._delivery is delivery:
            self._delivery = None
