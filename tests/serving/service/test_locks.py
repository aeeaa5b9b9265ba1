import threading

from serving.service.engine_cache import SharedLock


def test_readers_share_and_a_writer_is_alone() -> None:
    lock, both, seen = SharedLock(), threading.Barrier(2, timeout=5), []

    def read() -> None:
        with lock.shared():
            both.wait()  # two readers are inside at once, or this breaks
            seen.append("read")

    threads = [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with lock.exclusive():
        late = threading.Thread(target=lambda: seen.append("late") if lock.shared().__enter__() is None else None)
        late.start()
        late.join(0.1)
        assert seen == ["read", "read"]
    late.join(5)
    assert seen[-1] == "late"


def test_many_writers_lose_no_count() -> None:
    lock, n = SharedLock(), [0]

    def add() -> None:
        for _ in range(200):
            with lock.exclusive():
                value = n[0]
                n[0] = value + 1
            with lock.shared():
                assert n[0] > 0

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert n == [800]
