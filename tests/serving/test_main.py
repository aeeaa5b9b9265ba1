import gc

from serving.main import freeze_garbage_collector


def test_what_is_held_is_kept_out_of_collections_and_what_was_left_behind_is_collected() -> None:
    class Node:
        gone = 0
        itself: "Node | None" = None

        def __del__(self) -> None:
            Node.gone += 1

    try:
        freeze_garbage_collector()
        ring = Node()
        ring.itself = ring
        freeze_garbage_collector()
        assert gc.get_freeze_count() > 0
        del ring  # a cycle among what is frozen
        gc.collect()
        assert Node.gone == 0
        freeze_garbage_collector()
        assert Node.gone == 1
    finally:
        gc.unfreeze()
