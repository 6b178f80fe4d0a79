"""Parameters of TLS that all resources with a server at the other end have."""

from __future__ import annotations

from typing import Final

from trioemqx.services.rulekit import RuleParam, Words

CACERTFILE: Final = Words("Authorities that the server's certificate is checked with", "用于校验服务器证书的 CA")
CERTFILE: Final = Words("The client's certificate", "客户端证书")
KEYFILE: Final = Words("Key of the client's certificate", "客户端证书的私钥")
"""What the files are; EMQX gives them other titles and defaults in each type."""

VERIFY: Final = (
    RuleParam("verify", "boolean", default=False, title=Words("Verify Server Certfile", "校验服务器证书"),
        description=Words("Whether the server's certificate is checked", "是否校验服务器证书")),
    RuleParam("server_name_indication", title=Words("Server Name Indication", "服务器名称指示"),
        description=Words("The name to ask for; disable: none", "要请求的名称; disable 表示不发送")),
)  # fmt: skip
