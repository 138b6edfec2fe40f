"""The demo's server with a fault planted: its jobs have no key, so nothing keeps a game's moves in order."""

from fifoq.cli.demo.moves import Scene
from fifoq.cli.demo.server import make_app, serve

if __name__ == "__main__":
    serve(make_app(Scene.told(), key=None))
