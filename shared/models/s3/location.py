"""S3 URL of an object: bucket, key and version."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote

from shared.models.errors import ModelSourceError

_FORM = re.compile(
    r"s3://(?P<bucket>[a-z0-9][a-z0-9.\-]{1,61}[a-z0-9])/(?P<key>.+\.gguf)"
    r"(\?versionId=(?P<version>[^&]+))?"
)


@dataclass(frozen=True, slots=True)
class ObjectLocation:
    """A bucket and a key, and perhaps a version (an id that S3 gave)."""

    bucket: str
    key: str
    version: str | None = None

    @classmethod
    def parse(cls, source: str) -> ObjectLocation:
        """Read ``s3://BUCKET/KEY.gguf`` or ``s3://BUCKET/KEY.gguf?versionId=ID``.

        The alias of an access point does as a bucket, its ARN does not. Raises `ModelSourceError`.
        """
        match = _FORM.fullmatch(source)
        if match is None:
            hint = "; an access point goes by its alias" if source.startswith("s3://arn:") else ""
            raise ModelSourceError(f"expected s3://BUCKET/KEY.gguf, not {source!r}{hint}")
        version = match["version"]
        return cls(match["bucket"], match["key"], unquote(version) if version else None)

    def __str__(self) -> str:
        version = f"?versionId={self.version}" if self.version else ""
        return f"s3://{self.bucket}/{self.key}{version}"

    @property
    def name(self) -> str:
        """The key without what looks like directories."""
        return self.key.rpartition("/")[2]

    def error(
        self, cause: object, kind: type[ModelSourceError] = ModelSourceError
    ) -> ModelSourceError:
        """Names bucket, key and cause."""
        which = f"version {self.version!r} of " if self.version else ""
        place = f"{which}key {self.key!r} of bucket {self.bucket!r}"
        return kind(f"can't load {place} from S3: {cause}")
