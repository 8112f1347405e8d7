"""Packhouse: a caching pull-through npm registry.

This is the map of the house; imports go down only.

    5  cli/ · serving/ · app · config/    commands; processes; the composition root; settings
    4  web/                               speaks HTTP to clients
    3  registry/                          tells the stories
    2  storage/ · upstream/               disk and database · the network towards uplinks
    1  npm/ · errors                      knows npm, touches nothing

Start reading at the three requests of docs/architecture.md:

    GET /lodash                       web/packuments, registry/reading, mirroring/packuments
    GET /lodash/-/lodash-4.17.21.tgz  web/tarballs, registry/reading, mirroring/tarballs
    packhouse serve                   cli/serve, app, serving/worker

`app/` puts everything together, by constructor arguments; whatever a module needs, it was given
there.
"""
