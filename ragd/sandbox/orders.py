"""Faults as the control side orders them: one method each, arguments plain JSON values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .faults import Fault, Faults

if TYPE_CHECKING:
    from .server import Sandbox


class FaultOrders:
    """Every public method is an endpoint `POST /faults/<name>`; what it returns is the answer."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._gateway = sandbox.gateway
        self._faults: Faults = sandbox.faults

    # -- connections

    def cut(self, code: int | None = None, session_id: str | None = None) -> dict[str, int]:
        """End gateway connections, with a close code or without a close frame."""
        return {"connections": self._gateway.cut(code, session_id)}

    def reconnect(self, session_id: str | None = None) -> dict[str, int]:
        """Op 7."""
        return {"connections": self._gateway.request_reconnect(session_id)}

    def heartbeat(self, session_id: str | None = None) -> dict[str, int]:
        """Op 1: ask for a heartbeat."""
        return {"connections": self._gateway.request_heartbeat(session_id)}

    def invalidate(self, resumable: bool = False, session_id: str | None = None) -> dict[str, int]:
        """Op 9."""
        return {"connections": self._gateway.invalidate(resumable=resumable, session_id=session_id)}

    def expire_sessions(self, session_id: str | None = None) -> dict[str, int]:
        """The resume window is over: the next RESUME gets op 9 false."""
        return {"sessions": self._gateway.expire_sessions(session_id)}

    async def network(self, up: bool) -> dict[str, bool]:
        """Close or open the listener of REST and gateway."""
        await self._sandbox.set_network(up=up)
        return {"up": up}

    # -- switches

    def zombie(self, on: bool = True) -> dict[str, Any]:
        """No heartbeat ACKs."""
        self._faults.zombie = on
        return self._faults.report()

    def deaf(self, on: bool = True, keep_for_resume: bool = False, names: list[str] | None = None) -> dict[str, Any]:
        """ACKs but no events, or none of those names."""
        self._faults.deaf, self._faults.keep_for_resume = on, keep_for_resume
        self._faults.drop_names = frozenset(names or ())
        return self._faults.report()

    def drop(
        self, count: int = 0, fraction: float = 0.0, keep_for_resume: bool = False, names: list[str] | None = None
    ) -> dict[str, Any]:
        """Lose the next `count` events, or a fraction of all."""
        self._faults.drop_next, self._faults.drop_fraction = count, fraction
        self._faults.keep_for_resume, self._faults.drop_names = keep_for_resume, frozenset(names or ())
        return self._faults.report()

    def refuse(self, gateway: bool = False, rest: bool = False, resume: bool = False) -> dict[str, Any]:
        """Reset new gateway connections, reset REST connections, answer RESUME by op 9 false."""
        self._faults.refuse_gateway, self._faults.refuse_rest, self._faults.refuse_resume = gateway, rest, resume
        return self._faults.report()

    def rest(
        self,
        status: int | None = None,
        pattern: str = "*",
        method: str | None = None,
        times: int | None = None,
        delay_seconds: float = 0.0,
        retry_after_seconds: float = 1.0,
        is_global: bool = False,
        reset: bool = False,
    ) -> dict[str, int]:
        """A fault for REST requests whose path (below /api/v10) fits `pattern`; without `times` until cleared."""
        fault = Fault(status, delay_seconds, retry_after_seconds, is_global, reset)
        return {"rule": self._faults.add_rest_rule(fault, pattern=pattern, method=method, times=times).id}

    def clear_rest(self) -> dict[str, Any]:
        """Take all REST rules away."""
        self._faults.clear_rest_rules()
        return self._faults.report()

    def identify_budget(
        self,
        remaining: int | None = None,
        total: int | None = None,
        reset_after_ms: int | None = None,
        max_concurrency: int | None = None,
    ) -> dict[str, int]:
        """Change the session start limit; what is not given stays."""
        given = {
            "remaining": remaining,
            "total": total,
            "reset_after_ms": reset_after_ms,
            "max_concurrency": max_concurrency,
        }
        for name, value in given.items():
            if value is not None:
                setattr(self._faults.identify_budget, name, value)
        return self._faults.identify_budget.payload()

    def sharding(self, recommended: int | None = None, required: int | None = None) -> dict[str, int]:
        """What `/gateway/bot` recommends, and below how many shards IDENTIFY is closed with 4011."""
        sharding = self._faults.sharding
        sharding.recommended = sharding.recommended if recommended is None else recommended
        sharding.required = sharding.required if required is None else required
        return {"recommended": sharding.recommended, "required": sharding.required}

    async def clear(self) -> dict[str, Any]:
        """Everything back to normal; the network too."""
        self._faults.clear()
        await self._sandbox.set_network(up=True)
        return self._faults.report()
