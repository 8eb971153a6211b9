"""Answers GET and HEAD of a manifest, by tag or by digest; reads the manifests that pass by."""

from dataclasses import replace

from aiohttp import web

from dfdaemon.descriptors import MANIFEST_BYTES_MAX, Manifest, read_manifest
from dfdaemon.io.authorisation import Authoriser
from dfdaemon.io.mirror_answers import Content
from dfdaemon.io.origin_client import OriginClient, OriginSource
from dfdaemon.io.proxy_blobs import ProxyBlobs
from dfdaemon.io.tags import Resolved, Tags
from dfdaemon.names import Wanted
from dfdaemon.permissions import Member, Place
from dfdaemon.trust import Trust
from swarm.digest import Digest

ORDERED_BYTES_MAX = 256 << 10
"""What is read once more for the order of its layers alone; an image of 127 layers takes 30 KiB."""


class ProxyManifests:
    """Serves manifests: a tag costs one HEAD at the origin, the bytes come from the swarm."""

    def __init__(
        self, origin: OriginClient, authoriser: Authoriser, blobs: ProxyBlobs, tags: Tags, trust: Trust
    ) -> None:
        self._origin = origin
        self._trust = trust
        self._authoriser = authoriser
        self._knowledge = authoriser.knowledge
        self._blobs = blobs
        self._tags = tags

    async def answer(self, request: web.BaseRequest, wanted: Wanted) -> web.StreamResponse | None:
        """Answer a request for a manifest; None: the origin does not say the tag's digest, pass the request on."""
        accept = tuple(request.headers.getall("Accept", ()))
        authorization = self._origin.credential(wanted.registry, request.headers.get("Authorization"))
        if wanted.digest is not None:
            source = self._source(wanted, wanted.digest, accept, authorization)
            return await self._by_digest(request, source, None)
        place = Place(wanted.registry, wanted.repository)
        anew = "no-cache" in request.headers.get("Cache-Control", "").lower()
        resolved = await self._tags.resolve(place, wanted.reference, accept, authorization, anew=anew)
        if resolved is None:
            return None
        self._authoriser.check(resolved.digest)
        source = self._source(wanted, resolved.digest, accept, authorization)
        if request.method == "HEAD" and resolved.size >= 0:
            content = Content(wanted.registry, resolved.digest, resolved.size, resolved.media_type)
            return replace(content, stale=resolved.stale).head()
        return await self._by_digest(request, source, resolved)

    def _source(
        self, wanted: Wanted, digest: Digest, accept: tuple[str, ...], authorization: str | None
    ) -> OriginSource:
        place, scope = (wanted.registry, wanted.repository), self._trust.scope(wanted.registry)
        return OriginSource(*place, digest, "manifest", accept, authorization, scope)

    async def _by_digest(
        self, request: web.BaseRequest, source: OriginSource, resolved: Resolved | None
    ) -> web.StreamResponse:
        content = await self._blobs.content(source)
        if resolved is not None:
            media_type = resolved.media_type or content.media_type
            content = replace(content, media_type=media_type, stale=resolved.stale)
        if content.size > MANIFEST_BYTES_MAX:
            return await self._blobs.pass_body(request, source, content)
        if request.method == "HEAD" and content.media_type and content.size >= 0:
            return content.head()
        if content.size < 0:
            body = await self._blobs.read_unsized(source)
            content = replace(content, size=len(body))
        else:
            body = await self._blobs.read(source, content)
        content = self._learn(source, content, body)
        if request.method == "HEAD":
            return content.head()
        return web.Response(body=body, headers=content.headers())

    def _learn(self, source: OriginSource, content: Content, body: bytes) -> Content:
        """Remember what a manifest lists; return its content with a media type.

        It is read as what the registry took it as under a tag, whatever the store or the manifest itself says. Of
        any other the registry is asked about each blob that it lists.
        """
        place = Place(source.registry, source.repository)
        known = self._knowledge.tables.member(place, source.digest, "manifest")
        manifest = read_manifest(body, known.media_type if known is not None and known.vouches else "")
        self._knowledge.listed(place, source.digest, "manifest", Member(len(body), "", True))
        for entry in manifest.descriptors:
            member = Member(entry.size, entry.media_type, entry.proven)
            self._knowledge.listed(place, entry.digest, entry.kind, member)
        self._note_order(source, manifest, body)
        return replace(content, media_type=content.media_type or manifest.media_type)

    def _note_order(self, source: OriginSource, manifest: Manifest, body: bytes) -> None:
        """Remember in which order its layers are unpacked; that proves nothing, so its own word about it is enough."""
        if not manifest.descriptors and len(body) <= ORDERED_BYTES_MAX:
            manifest = read_manifest(body, manifest.media_type)
        layers = (entry.digest for entry in manifest.descriptors if entry.kind == "blob")
        self._blobs.layers.listed(source.task, (digest.task_within(source.scope) for digest in layers))
