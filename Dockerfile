# The managed plugin's root file system: one static binary, which `make plugin` builds
# (CGO_ENABLED=0). Nothing is compiled here, and the engine makes the mount points.
FROM scratch
COPY build/overlayzfs-plugin /overlayzfs-plugin
ENTRYPOINT ["/overlayzfs-plugin"]
