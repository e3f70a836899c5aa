from .figures import draw as draw
from .figures import figure_data as figure_data
from .figures import save_data as save_data
from .panels import FigureData as FigureData
from .panels import Scale as Scale
