# The managed plugin's root file system: one static binary, which the build has
# put below build/ (CGO_ENABLED=0; nothing is compiled here). Mount points are
# made by the engine.
FROM scratch
COPY build/overlayzfs-plugin /overlayzfs-plugin
ENTRYPOINT ["/overlayzfs-plugin"]
